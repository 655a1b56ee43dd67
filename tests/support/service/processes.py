"""Child processes of tests: started with a log, waited for with a deadline, ended by their pid."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

from tests.support.service.environment import REPOSITORY
from tests.support.waiting import eventually
from workers.platform.child_process import dies_with_parent

STOP_TIMEOUT_S = 25.0
#: Most of a program's files have higher numbers; poll() takes no more of them at once.
_FEW_FILES = 8


class Child:
    """One process; what it writes is in `log_path`. Starts at once; a context manager that stops it.

    Args:
        command: program and arguments; the word "python" is this interpreter.
        env: the whole environment (see `clean_environment`).
        log_path: where stdout and stderr go, appended.
    """

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], log_path: Path, cwd: Path = REPOSITORY
    ) -> None:
        self.command = [sys.executable if word == "python" else word for word in command]
        self.log_path = log_path
        self._log_start = log_path.stat().st_size if log_path.exists() else 0
        self._family: set[psutil.Process] = set()
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dies_with_parent(),
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def log(self) -> str:
        """What it has written so far."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def descendants(self) -> list[psutil.Process]:
        """Every living process that this one started, and those that they started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._family.update(psutil.Process(self.pid).children(recursive=True))
        return living(self._family)

    def wait_for_log(self, text: str, timeout_s: float = 20.0) -> str:
        """Wait until `text` stands in the log; return the log."""

        def seen() -> str | None:
            log = self.log()
            if text not in log and not self.running:
                raise RuntimeError(f"{self.command} ended with {self.exit_code} before it wrote {text!r}:\n{log}")
            return log if text in log else None

        return eventually(seen, timeout_s, message=f"{text!r} in the log of {self.command}") or ""

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for its end; return the exit code."""
        return self._process.wait(timeout_s)

    def terminate(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask it to end (SIGTERM) and wait; return the exit code."""
        self.descendants()
        self._process.terminate()
        return self.wait(timeout_s)

    def kill(self) -> int:
        """Kill it (SIGKILL), and only it, and wait; return the exit code."""
        self.descendants()
        self._process.kill()
        return self.wait()

    def stop(self) -> None:
        """End it, and whatever it has left behind, by all means."""
        if self.running:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()
        for process in self.descendants():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run; a zombie has ended."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@contextlib.contextmanager
def no_more_files(process: psutil.Process, *, even_for_closed: bool = False) -> Iterator[None]:
    """Let one process run as on a machine whose limit of open files is reached.

    Args:
        process: whose limit is lowered.
        even_for_closed: a file that it closes meanwhile is no room for another one.
    """
    before = process.rlimit(resource.RLIMIT_NOFILE)
    used = {int(each.name) for each in Path(f"/proc/{process.pid}/fd").iterdir()}
    first_free = min(set(range(len(used) + 1)) - used)
    limit = _FEW_FILES if even_for_closed else first_free
    process.rlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        process.rlimit(resource.RLIMIT_NOFILE, before)
