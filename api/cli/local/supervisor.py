"""Starts the service's processes, passes on what they write, and leaves none behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from api.cli.errors import StartFailed
from workers.platform.child_process import dies_with_parent

#: A worker lets running predictions finish: see QUEUECAST_SHUTDOWN_GRACE_S.
_STOP_DEADLINE_S = 20.0
_LOOK_INTERVAL_S = 0.1
_LINES_KEPT = 30
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Write = Callable[[str, str], None]


class Stopped(BaseException):
    """A signal asked this program to end; not an error, so that no `except Exception` takes it."""


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` in the block at SIGINT, SIGTERM or SIGHUP."""

    def stop(_number: int, _frame: object) -> None:
        raise Stopped

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Member:
    """One process, its process group, and the last lines that it wrote."""

    def __init__(self, name: str, command: str, *, folder: Path, environment: Mapping[str, str], write: Write) -> None:
        self.name = name
        self.lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._write = write
        self.process = subprocess.Popen(  # noqa: S603 - the commands of our own Procfile
            ["/bin/sh", "-c", f"exec {command}"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,  # a Ctrl-C in the terminal reaches us alone: we stop them in order
            preexec_fn=dies_with_parent(),  # noqa: PLW1509 - one system call, see there
        )
        self._reader = threading.Thread(target=self._read, name=f"log of {name}", daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """Return the last lines that it wrote."""
        self._reader.join(1)
        return "\n".join(f"  {line}" for line in self.lines)

    def end(self, number: signal.Signals) -> None:
        """Send a signal to its whole process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # all of it has ended
            os.killpg(self.process.pid, number)

    def _read(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - narrows the type
        for line in self.process.stdout:
            text = line.rstrip("\n")
            self.lines.append(text)
            self._write(self.name, text)


class Supervisor:
    """The processes of a running service; a context manager that stops them, the first one last.

    Args:
        folder: where the commands run.
        environment: what they get.
        write: takes (name, line) for all that they write.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], write: Write) -> None:
        self._folder = folder
        self._environment = environment
        self._write = write
        self._members: list[Member] = []

    def start(self, name: str, command: str) -> Member:
        """Start a process that should run as long as the service does."""
        member = self._member(name, command)
        self._members.append(member)
        return member

    def run_to_end(self, name: str, command: str) -> None:
        """Run a step to its end, while watching the others.

        Raises:
            StartFailed: it failed, or another process ended.
        """
        member = self._member(name, command)
        try:
            self.wait_until(lambda: not member.running)
        finally:
            member.end(signal.SIGKILL)
        if member.process.wait():
            raise StartFailed(f"{name} failed (exit code {member.process.returncode}):\n{member.last_words()}")

    def wait_until(self, done: Callable[[], bool], limit_s: float | None = None) -> bool:
        """Wait until `done`; return False if it isn't in `limit_s`.

        Raises:
            StartFailed: one of the processes has ended.
        """
        ends_at = time.monotonic() + limit_s if limit_s is not None else None
        while not done():
            ended = next((each for each in self._members if not each.running), None)
            if ended is not None:
                raise StartFailed(
                    f"{ended.name} ended by itself (exit code {ended.process.returncode}):\n{ended.last_words()}"
                )
            if ends_at is not None and time.monotonic() > ends_at:
                return False
            time.sleep(_LOOK_INTERVAL_S)
        return True

    def stop(self) -> None:
        """Stop all processes; asked again meanwhile, kill them."""
        try:
            for group in (self._members[1:], self._members[:1]):
                self._stop(group)
        except Stopped:
            pass  # no patience left: go on to the kill
        finally:
            for member in self._members:
                member.end(signal.SIGKILL)  # also of what its leader has left behind
                member.process.wait()
            self._members.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _member(self, name: str, command: str) -> Member:
        return Member(name, command, folder=self._folder, environment=self._environment, write=self._write)

    @staticmethod
    def _stop(members: list[Member]) -> None:
        # To the leaders alone: a worker stops its model hosts itself, after their batch.
        for member in members:
            if member.running:
                member.process.terminate()
        ends_at = time.monotonic() + _STOP_DEADLINE_S
        while any(member.running for member in members) and time.monotonic() < ends_at:
            time.sleep(_LOOK_INTERVAL_S)
