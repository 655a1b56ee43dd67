"""Bounds how many hosts load their models at once, so that others go on serving."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

#: A load that takes longer lets the next one begin: it may wait for a disk or a network.
_LONGEST_TURN_S = 0.25


class LoadTurns:
    """Turns of loads: for half of the processors, at least one; belongs to one event loop."""

    def __init__(self, at_once: int | None = None) -> None:
        self._free = asyncio.Semaphore(max(1, (os.cpu_count() or 1) // 2) if at_once is None else at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, which ends with the block, or when it has lasted long."""
        await self._free.acquire()
        has_turn = True

        def end() -> None:
            nonlocal has_turn
            if has_turn:
                has_turn = False
                self._free.release()

        timer = asyncio.get_running_loop().call_later(_LONGEST_TURN_S, end)
        try:
            yield
        finally:
            timer.cancel()
            end()
