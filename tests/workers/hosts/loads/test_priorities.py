"""Page faults and niceness of processes, as the kernel has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.service.environment import REPOSITORY
from workers.hosts import processes

PAGES = 2_000
_KEEPS = """
import sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("up", flush=True)
kept = bytearray(int(sys.stdin.readline()))
print("has", flush=True)
sys.stdin.readline()
"""
_NOBODY = 65_534
_NICEST = 19
_TRIES = """
import os, threading
from workers.hosts import processes
os.setuid(USER)
usual = processes.own_niceness()
processes.set_niceness(os.getpid(), usual + 1)
try:
    processes.set_niceness(os.getpid(), usual)
    was_lowered = True
except PermissionError:
    was_lowered = False
assert processes.can_be_less_nice() is was_lowered, was_lowered
"""


@contextmanager
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process with two threads, which keeps as many bytes as it is told."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _KEEPS], start_new_session=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == b"up\n"
        try:
            yield process
        finally:
            process.kill()


def session_niceness(pid: int) -> int | None:
    """The niceness of a process's group by session; None where it is in none, or only root may change it at will.

    The kernel makes a group for each session that begins. What is still in the session in which the machine started is
    in none of them: its file is empty.
    """
    file = Path(f"/proc/{pid}/autogroup")
    said = file.read_text().split() if os.getuid() == 0 and file.exists() else []
    return int(said[-1]) if said else None


def nicer_than_these_tests() -> int:
    """The next niceness; skips the test where these run at the last one."""
    niceness = processes.own_niceness() + 1
    if niceness > _NICEST:
        pytest.skip("these tests are as nice as can be")
    return niceness


def test_a_process_in_the_session_of_another_leaves_that_as_it_is() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        before = session_niceness(os.getpid())
        processes.set_niceness(process.pid, nicer_than_these_tests())
        assert session_niceness(os.getpid()) == before


def test_memory_that_a_process_gets_are_page_faults() -> None:
    with child() as process:
        before = processes.page_faults(process.pid)
        assert processes.page_faults(process.pid) == before
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"%d\n" % (PAGES * os.sysconf("SC_PAGE_SIZE")))
        process.stdin.flush()
        assert process.stdout.readline() == b"has\n"
        assert processes.page_faults(process.pid) > before
    assert processes.page_faults(process.pid) == 0


def test_the_niceness_of_all_threads_is_set_and_of_the_session() -> None:
    with child() as process:
        usual, nicer = processes.own_niceness(), nicer_than_these_tests()
        for niceness in (nicer, usual) if processes.can_be_less_nice() else (nicer,):
            processes.set_niceness(process.pid, niceness)
            threads = [int(each.name) for each in Path(f"/proc/{process.pid}/task").iterdir()]
            assert len(threads) == 2
            assert {os.getpriority(os.PRIO_PROCESS, each) for each in threads} == {niceness}
            assert session_niceness(process.pid) in (None, niceness)
    processes.set_niceness(process.pid, usual)  # it has ended


def test_a_thread_that_ends_meanwhile_leaves_no_other_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Thread(target=lambda: None)
    ended.start()
    ended.join()
    real = os.listdir
    with child() as process:
        niceness = nicer_than_these_tests()
        monkeypatch.setattr(os, "listdir", lambda place: [str(ended.native_id), *real(place)])
        processes.set_niceness(process.pid, niceness)
        monkeypatch.undo()
        threads = [int(each.name) for each in Path(f"/proc/{process.pid}/task").iterdir()]
        assert {os.getpriority(os.PRIO_PROCESS, each) for each in threads} == {niceness}
        assert session_niceness(process.pid) in (None, niceness)


def test_the_rights_of_a_namespace_of_users_are_not_taken_for_those_of_the_machine() -> None:
    unshare = ["unshare", "--user", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no namespaces of users here")
    subprocess.run([*unshare, sys.executable, "-c", _TRIES.replace("USER", "0")], check=True, cwd=REPOSITORY)


@pytest.mark.parametrize("drops_rights", [False, True])
def test_it_is_known_whether_a_niceness_can_be_lowered_again(*, drops_rights: bool) -> None:
    if drops_rights and os.getuid() != 0:
        pytest.skip("takes root")
    program = _TRIES.replace("USER", str(_NOBODY) if drops_rights else "os.getuid()")
    subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY)
