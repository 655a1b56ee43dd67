"""The other API processes on this port: the same program, started, watched and ended by the first of them."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Mapping, Sequence

from prometheus_client.multiprocess import mark_process_dead

from workers.platform.child_process import end_with_parent, python_command

#: What tells a process that it isn't the first; the first one's id comes after it.
_ARGUMENT = "--sibling-of"
#: Between the end of one and the start of the next: one that can't start must not take all of the processor.
_PAUSE_S = 3.0
_log = logging.getLogger(__name__)


class Siblings:
    """So many processes besides this one; `look` keeps their number.

    Args:
        count: how many.
        variables: what they get in their environment besides this process's own.
    """

    def __init__(self, count: int, variables: Mapping[str, str]) -> None:
        self._command = python_command("api.serve", _ARGUMENT, str(os.getpid()))
        self._environment = {**os.environ, **variables}
        #: Each with the time (monotonic) at which the next one is started in its place, once it has ended.
        self._processes: dict[subprocess.Popen[bytes], float | None] = {}
        self._count = count

    def look(self) -> None:
        """Start what is missing. On the main thread, which lives as long as they may."""
        now = time.monotonic()
        for process, starts_at in list(self._processes.items()):
            if starts_at is None and process.poll() is not None:
                _log.warning("API process %d has ended (%d): another one is started", process.pid, process.returncode)
                mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
                self._processes[process] = now + _PAUSE_S
            elif starts_at is not None and starts_at <= now:
                del self._processes[process]
        while len(self._processes) < self._count:
            # In a group of its own: Ctrl-C is for the first one, which tells the others.
            started = subprocess.Popen(self._command, env=self._environment, process_group=0)  # noqa: S603 - ourselves
            self._processes[started] = None

    def end(self) -> None:
        """Tell them to end; the second time, to give up what they are still answering."""
        for each in self._running():
            each.terminate()

    def wait(self, timeout_s: float) -> None:
        """Wait until all have ended; kill those that haven't by then."""
        ends_at = time.monotonic() + timeout_s
        for each in self._running():
            try:
                each.wait(max(0.0, ends_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()

    def _running(self) -> list[subprocess.Popen[bytes]]:
        return [each for each in self._processes if each.poll() is None]


def be_one(arguments: Sequence[str]) -> bool:
    """Tell by this process's arguments whether another one is the first; if so, end with it."""
    if _ARGUMENT not in arguments:
        return False
    end_with_parent(int(arguments[-1]))
    return True
