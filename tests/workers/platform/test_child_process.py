"""Children that end with their parent."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

from tests.support.service.environment import REPOSITORY
from tests.support.waiting import eventually
from workers.platform.child_process import dies_with_parent

#: Starts a child that sleeps, prints its pid, and sleeps itself.
PARENT = """
import subprocess, sys, time
from workers.platform.child_process import dies_with_parent
child = subprocess.Popen([sys.executable, "-c", {child!r}], preexec_fn={preexec})
print(child.pid, flush=True)
time.sleep(600)
"""
SLEEPER = "import time; time.sleep(600)"
#: Says by a file which signal it got.
WITNESS = """
import signal, sys, time
def leave(number, frame):
    open({path!r}, "w").write(str(number))
    sys.exit()
signal.signal(signal.SIGTERM, leave)
open({path!r} + ".ready", "w").close()
time.sleep(600)
"""


def parent_and_child(child: str, preexec: str) -> tuple[subprocess.Popen[str], psutil.Process]:
    program = PARENT.format(child=child, preexec=preexec)
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert parent.stdout is not None
    with parent.stdout:
        return parent, psutil.Process(int(parent.stdout.readline()))


def test_child_gets_sigterm_when_its_parent_is_killed(tmp_path) -> None:
    path = tmp_path / "signal"
    parent, child = parent_and_child(WITNESS.format(path=str(path)), "dies_with_parent()")
    eventually(path.with_name("signal.ready").exists)
    parent.kill()
    parent.wait()
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert path.read_text() == str(signal.SIGTERM.value)


def test_without_it_a_child_lives_on() -> None:
    parent, child = parent_and_child(SLEEPER, "None")
    try:
        parent.kill()
        parent.wait()
        assert child.is_running()
        eventually(lambda: child.ppid() != parent.pid)
        assert child.status() != psutil.STATUS_ZOMBIE
    finally:
        child.kill()


def test_child_whose_parent_died_before_it_could_ask_ends_at_once() -> None:
    # The grandchild's parent is not the process that prepared it: as if that had died in between.
    program = """
import os
from workers.platform.child_process import dies_with_parent
prepare = dies_with_parent()
if os.fork() == 0:
    if os.fork() == 0:
        prepare()
        os._exit(77)  # never
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "1\n"


def test_child_of_a_living_parent_is_left_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "print('done')"],
        capture_output=True, text=True, timeout=60, check=True, preexec_fn=dies_with_parent(),
    )  # fmt: skip
    assert done.stdout == "done\n"


def test_system_that_can_not_do_it_starts_children_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert dies_with_parent() is None
