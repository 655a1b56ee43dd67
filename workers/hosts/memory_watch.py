"""Looking at the memory of a busy host, from the worker's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from workers.hosts import processes

#: While a host is busy. A look at it and its descendants takes 0.1 ms.
_INTERVAL_S = 0.2


class MemoryWatch:
    """Calls `on_outgrown(used_bytes, limit_bytes)` when a process is found above a limit, at most once.

    It looks while it is entered (`with`), and when it is told to. It sees resident memory; a peak
    between two looks can be missed.
    """

    def __init__(self, pid: int, limit_bytes: int | None, on_outgrown: Callable[[int, int], None]) -> None:
        #: None is no limit; may be changed at any time.
        self.limit_bytes = limit_bytes
        self._pid = pid
        self._on_outgrown = on_outgrown
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._next_thorough_look = 0.0
        self._outgrown = False

    def look(self) -> None:
        """Look now: at the process alone if the last thorough look was just before."""
        if self.limit_bytes is None or self._outgrown:
            return
        used_bytes = processes.own_memory_bytes(self._pid)
        if used_bytes <= self.limit_bytes and self._loop.time() >= self._next_thorough_look:
            self._next_thorough_look = self._loop.time() + _INTERVAL_S
            used_bytes = processes.memory_bytes(self._pid)
        if used_bytes > self.limit_bytes:
            self._outgrown = True
            self._on_outgrown(used_bytes, self.limit_bytes)

    def __enter__(self) -> None:
        self._timer = self._loop.call_later(_INTERVAL_S, self._look_again)

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look_again(self) -> None:
        self.look()
        self._timer = self._loop.call_later(_INTERVAL_S, self._look_again)
