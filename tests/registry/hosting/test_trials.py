"""Trials run in a fresh process: they don't see this process's state, and don't change it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from registry.errors import InputInvalid, ModelLoadFailed, RuntimeUnavailable
from registry.hosting.trial_process import FORK, ONCE
from registry.hosting.trials import Trials, _error
from registry.runtimes.python import RUNTIME
from tests.support.service.environment import REPOSITORY, clean_environment
from tests.support.waiting import eventually

HOW = [FORK, pytest.param(ONCE, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=HOW)
def trials(request: pytest.FixtureRequest) -> Iterator[Trials]:
    trials = Trials(request.param)
    yield trials
    trials.close()


def run(trials: Trials, model: Any, example: Any = 1.0, timeout_s: float = 30.0) -> None:
    signature = {"kind": "scalar", "dtype": "float"}
    request = {"runtime": "python", "runtime_options": {}, "signature": signature, "input_example": example}
    trials.run(RUNTIME.dump(model), request, timeout_s)


class DiesWhenLoaded:
    def __init__(self, how: str) -> None:
        self.how = how

    def __setstate__(self, state: dict[str, Any]) -> None:
        print("about to end", flush=True)
        if state["how"] == "exit":
            os._exit(0)
        os.kill(os.getpid(), signal.SIGSEGV)

    def __call__(self, row: Any) -> Any:
        return row


def surroundings(_row: float) -> float:
    """Raise what a model sees around it."""
    import sys
    from pathlib import Path

    private = {name for name in os.environ if name.startswith(("QUEUECAST", "DATABASE"))}
    here = [name for name in ("tests", "conftest") if name in sys.modules]
    listed = sorted(each.name for each in Path().iterdir())
    raise LookupError(private, here, str(REPOSITORY) in sys.path, listed)


def test_a_model_sees_no_secret_no_module_and_no_file_of_the_program(trials: Trials) -> None:
    with pytest.raises(ModelLoadFailed) as failed:
        run(trials, surroundings)
    assert "LookupError: (set(), [], False, ['artifact', 'log.txt', 'request.json'])" in str(failed.value)


def test_what_a_model_prints_and_raises_is_shown(trials: Trials) -> None:
    def loud(row: float) -> float:
        print("so I was told", row)
        raise SystemExit(4)

    with pytest.raises(ModelLoadFailed) as failed:
        run(trials, loud)
    assert str(failed.value) == "The model fails on its example: SystemExit: 4"
    assert "so I was told 1.0\nTraceback" in failed.value.__notes__[0]


@pytest.mark.parametrize(("how", "ended"), [("exit", "with exit status 0"), ("segfault", "by SIGSEGV")])
def test_a_model_that_ends_its_process_is_refused_with_the_last_output(trials: Trials, how: str, ended: str) -> None:
    with pytest.raises(ModelLoadFailed) as failed:
        run(trials, DiesWhenLoaded(how))
    assert f"its process ended {ended}. Its last output: about to end" in str(failed.value)
    run(trials, abs)


@pytest.mark.slow
def test_a_model_that_takes_too_long_is_refused_and_ended(trials: Trials) -> None:
    def sleep(_row: float) -> None:
        time.sleep(600)

    run(trials, abs)
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(ModelLoadFailed, match=r"took longer than 0\.3 s"):
        run(trials, sleep, timeout_s=0.3)
    eventually(lambda: set(psutil.Process().children(recursive=True)) <= before)
    run(trials, abs)


def test_threads_may_try_at_once_and_end(trials: Trials) -> None:
    failed: list[BaseException] = []

    def tried() -> None:
        try:
            run(trials, abs)
        except BaseException as error:  # noqa: BLE001 - for the test's thread
            failed.append(error)

    threads = [threading.Thread(target=tried) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed
    run(trials, abs)


@pytest.mark.slow
def test_a_process_that_ended_while_it_waited_is_replaced() -> None:
    trials = Trials(FORK)
    try:
        run(trials, abs)
        assert trials._process is not None
        first = trials._process._process
        first.kill()
        first.wait()
        run(trials, abs)
        assert trials._process._process.pid != first.pid
    finally:
        trials.close()


PROGRAM = """
import os, sys
from registry.hosting.trials import default_trials
from registry.runtimes.python import RUNTIME

def tried():
    request = {"runtime": "python", "runtime_options": {}, "signature": {"kind": "scalar", "dtype": "float"}}
    default_trials().run(RUNTIME.dump(abs), {**request, "input_example": 1.0}, 30)
    return default_trials()._process._process.pid

first = tried()
child = os.fork()
if child == 0:
    print(tried() != first, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(tried() == first, flush=True)
print(first, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_a_fork_has_a_process_of_its_own_and_none_outlives_its_program() -> None:
    command = [sys.executable, "-c", PROGRAM]
    ended = subprocess.run(command, cwd=REPOSITORY, env=clean_environment(), capture_output=True, check=False)
    own, same, pid = ended.stdout.decode().split()
    assert (own, same) == ("True", "True")
    eventually(lambda: not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize(
    "error",
    [InputInvalid("input.a", "an int", "text"), RuntimeUnavailable("onnx", "onnxruntime"), ModelLoadFailed("x")],
)
def test_errors_come_as_they_were_raised(error: Exception) -> None:
    described = {"type": type(error).__name__, "message": str(error), "attributes": vars(error)}
    raised = _error(described)
    assert type(raised) is type(error)
    assert str(raised) == str(error)
    assert vars(raised) == vars(error)
