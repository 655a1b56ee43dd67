"""Checks the memory of a busy host on the worker's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from workers.hosts import processes

#: Interval of checks while a host is busy. Checking it and its descendants takes 0.1 ms.
_INTERVAL_S = 0.2


class MemoryWatch:
    """Calls `on_outgrown(used_bytes, limit_bytes)` when a process is found above a limit, at most once.

    It checks resident memory regularly while it is entered (`with`), and on `check`. It can miss a peak between two
    checks.
    """

    def __init__(self, pid: int, limit_bytes: int | None, on_outgrown: Callable[[int, int], None]) -> None:
        #: None is no limit; can be changed at any time.
        self.limit_bytes = limit_bytes
        self._pid = pid
        self._on_outgrown = on_outgrown
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._next_full_check_at = 0.0
        self._outgrown = False

    def check(self) -> None:
        """Check now; only the process itself if its descendants were checked just before."""
        if self.limit_bytes is None or self._outgrown:
            return
        used_bytes = processes.own_memory_bytes(self._pid)
        if used_bytes <= self.limit_bytes and self._loop.time() >= self._next_full_check_at:
            self._next_full_check_at = self._loop.time() + _INTERVAL_S
            used_bytes = processes.memory_bytes(self._pid)
        if used_bytes > self.limit_bytes:
            self._outgrown = True
            self._on_outgrown(used_bytes, self.limit_bytes)

    def __enter__(self) -> None:
        self._timer = self._loop.call_later(_INTERVAL_S, self._check_again)

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _check_again(self) -> None:
        self.check()
        self._timer = self._loop.call_later(_INTERVAL_S, self._check_again)
