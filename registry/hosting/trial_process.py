"""The process that tries models, started like a model host: without the training program's folder and modules.

It reads names of folders from its standard input, one per line. A folder has the artifact and `request.json`; the
process answers with `answer.json` there and a line with the exit status of the trial. Each trial is a fork of this
process, which has imported the libraries of the runtime. If a fork is not safe, this process is the trial. It exits
when its input ends, or after some time without a request.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from registry import runtimes
from registry.errors import RegistryError, RuntimeUnknown
from registry.hosting import loading
from registry.runtimes.failures import exceptions

REQUEST, ANSWER, LOG, ARTIFACT = "request.json", "answer.json", "log.txt", "artifact"
#: How a trial is made, the program's argument.
FORK, ONCE = "fork", "once"
#: An idle process keeps about 100 MB.
_IDLE_S = 120.0


def main(how: str) -> None:
    """Serve the requests on standard input."""
    answers = os.dup(1)
    os.dup2(2, 1)  # output of a model must not mix with answers
    if how == ONCE:
        folder = sys.stdin.readline().rstrip("\n")
        os._exit(_status_of_trial(Path(folder)) if folder else 0)
    _ForkingServer(answers).run()


class _ForkingServer:
    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._read = b""
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        while folder := self._next_line():
            status = self._tried(Path(folder))
            if status is None:
                return
            os.write(self._answers, b"%d\n" % status)

    def _next_line(self) -> str:
        """Return the next request; "" at the end of the input, or after a long time without a request."""
        while b"\n" not in self._read:
            ready, _, _ = select.select([0], [], [], _IDLE_S)
            more = os.read(0, 4096) if ready else b""
            if not more:
                return ""
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return os.fsdecode(line)

    def _tried(self, folder: Path) -> int | None:
        """Fork a trial; return its exit status, or None if the caller has exited."""
        runtime = json.loads((folder / REQUEST).read_bytes())["runtime"]
        with contextlib.suppress(RuntimeUnknown):  # the trial raises it
            runtimes.preload(runtimes.get(runtime).preloaded)
        pid = os.fork()
        if pid == 0:
            self._become_trial(folder)
        while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            ready, _, _ = select.select([0, self._woken.fileno()], [], [])
            if 0 in ready:  # the end of the input: there is one request at a time
                _end(pid)
                return None
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)
        return _end(pid)

    def _become_trial(self, folder: Path) -> None:
        status = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self._woken, self._waker):
                end.close()
            os.close(self._answers)
            status = _status_of_trial(folder)
        finally:
            os._exit(status)  # never return into the server's own stack


def _end(pid: int) -> int:
    """Kill a child that was not yet waited for, with its process group; return its exit status."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)  # it may not have created its own group yet
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _status_of_trial(folder: Path) -> int:
    """Try the model of a folder in this process; return the exit status."""
    try:
        _settle(folder)
        pid = os.getpid()
        answer = json.dumps(_tried(folder), default=str)
        if os.getpid() == pid:  # else it is a child that the model has forked
            (folder / ANSWER).write_text(answer, encoding="utf-8")
    except BaseException:  # noqa: BLE001 - after any error the process ends here
        with contextlib.suppress(BaseException):
            traceback.print_exc()
        return 1
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(BaseException):
                stream.flush()
    return 0


def _settle(folder: Path) -> None:
    """Redirect output to the folder's log, close the input, and change to the folder."""
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for own, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(own, standard)
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # to keep the order with stderr
    os.chdir(folder)
    faulthandler.enable()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


def _tried(folder: Path) -> dict[str, Any]:
    """Load the model and predict its example; return the error to raise, or nothing."""
    request = json.loads((folder / REQUEST).read_bytes())
    try:
        model = loading.load(
            str(folder / ARTIFACT), request["runtime"], request["runtime_options"], request["signature"]
        )
        if request["input_example"] is not None:
            loading.predict_example(model, request["input_example"])
    except BaseException as error:  # noqa: BLE001 - any error of a model's code is an answer, also SystemExit
        print(exceptions.with_traceback(error), file=sys.stderr)  # noqa: T201 - this process's log
        flat = exceptions.type_and_message(error)
        if isinstance(error, RegistryError):
            return {"type": type(error).__name__, "message": flat["message"], "attributes": vars(error)}
        reason = f"The model can't be loaded: {flat['type']}: {flat['message']}"
        return {"type": "ModelLoadFailed", "message": reason, "attributes": {}}
    return {}
