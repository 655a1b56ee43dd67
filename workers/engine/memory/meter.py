"""Measures the memory of all hosts of a worker again and again, and keeps it within the budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from workers.engine.memory.budget import MemoryBudget
from workers.engine.memory.versions import Versions
from workers.hosts.processes import MemoryUsage

#: The least interval of measurements, and while a host loads a version of unknown need.
_INTERVAL_S = 1.0
_INTERVAL_IF_LOADING_S = 0.2
#: Measuring takes at most one part in so many of a processor's time.
_MOST_SHARE = 50
#: Interval of looks for room while hosts wait for memory: idle endpoints may have become more.
_WAITING_S = 0.1


class MemoryMeter:
    """Measures until cancelled; belongs to the budget's event loop.

    Args:
        measure: returns what a process and its descendants use.
        measure_own: the same without descendants.
        forkserver_pids: returns the processes that hosts are forked from.
    """

    def __init__(
        self,
        budget: MemoryBudget,
        versions: Versions,
        measure: Callable[[int], MemoryUsage],
        measure_own: Callable[[int], MemoryUsage],
        forkserver_pids: Callable[[], Sequence[int]],
    ) -> None:
        self._budget = budget
        self._versions = versions
        self._measure = measure
        self._measure_own = measure_own
        self._forkserver_pids = forkserver_pids

    async def run(self) -> None:
        """Measure, relieve, and look for room for waiting hosts."""
        while True:
            began = time.monotonic()
            await self.look()
            took_s = time.monotonic() - began
            loading = any(each.kill is not None for each in self._budget.claims)
            interval_s = max(_INTERVAL_IF_LOADING_S if loading else _INTERVAL_S, took_s * _MOST_SHARE)
            while (left_s := began + interval_s - time.monotonic()) > 0:
                await asyncio.sleep(min(left_s, _WAITING_S) if self._budget.has_waiters else left_s)
                self._budget.serve_waiters()

    async def look(self) -> None:
        """Measure all hosts once, and get back under the limit."""
        pids = [each.pid for each in self._budget.claims if each.pid is not None]
        usages, base_bytes = await asyncio.to_thread(self._measured, pids, self._forkserver_pids())
        self._budget.measured(usages, base_bytes)
        for each in self._budget.claims:
            if each.pid in usages and each.usage is not None and each.usage.private_bytes:
                await self._versions.measured(each.artifact_sha256, each.usage.private_bytes)
        self._budget.relieve()
        self._budget.serve_waiters()

    def _measured(self, pids: Sequence[int], forkservers: Sequence[int]) -> tuple[dict[int, MemoryUsage], int]:
        found = {pid: usage for pid in pids if (usage := self._measure(pid)).pss_bytes}
        return found, sum(self._measure_own(pid).pss_bytes for pid in forkservers)
