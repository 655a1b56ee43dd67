"""Measures the memory of all hosts of a worker again and again, and keeps it within the budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from workers.engine.memory.budget import MemoryBudget
from workers.engine.memory.versions import Versions
from workers.hosts.processes import MemoryUsage

#: The least interval of measurements, and while hosts start or wait for memory.
_INTERVAL_S = 1.0
_INTERVAL_IF_CHANGING_S = 0.2
#: Measuring takes at most one part in so many of a processor's time.
_MOST_SHARE = 100
#: The same while a host loads.
_MOST_SHARE_IF_CHANGING = 10
#: The same while hosts wait for memory.
_MOST_SHARE_IF_WAITING = 5
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
            while (left_s := began + self._interval_s(took_s) - time.monotonic()) > 0:
                await asyncio.sleep(min(left_s, _WAITING_S))
                self._budget.serve_waiters()

    def _interval_s(self, took_s: float) -> float:
        """Return the interval of measurements, one of which takes so long."""
        if self._budget.has_waiters:
            return max(_INTERVAL_IF_CHANGING_S, took_s * _MOST_SHARE_IF_WAITING)
        if any(each.pid is not None and (each.kill is not None or each.usage is None) for each in self._budget.claims):
            return max(_INTERVAL_IF_CHANGING_S, took_s * _MOST_SHARE_IF_CHANGING)
        return max(_INTERVAL_S, took_s * _MOST_SHARE)

    async def look(self) -> None:
        """Measure all hosts once, and get back under the limit."""
        before = self._pids()
        forkservers = self._forkserver_pids()
        usages, forkserver_bytes = await asyncio.to_thread(self._measured, before, forkservers)
        common = sum(each.pss_bytes - each.private_bytes for each in usages.values()) + forkserver_bytes
        # When hosts have come or gone meanwhile, shares of pages have moved, and are counted twice or not at all.
        is_sure = self._pids() == before == set(usages) or self._budget.shared_bytes is None
        self._budget.measured(usages, common if is_sure else None)
        for each in self._budget.claims:
            if each.pid in usages and each.usage is not None and each.usage.private_bytes:
                await self._versions.measured(each.artifact_sha256, each.usage.private_bytes)
        self._budget.relieve()
        self._budget.serve_waiters()

    def _pids(self) -> set[int]:
        return {each.pid for each in self._budget.claims if each.pid is not None}

    def _measured(self, pids: Iterable[int], forkservers: Sequence[int]) -> tuple[dict[int, MemoryUsage], int]:
        found = {pid: usage for pid in pids if (usage := self._measure(pid)).pss_bytes}
        return found, sum(self._measure_own(pid).pss_bytes for pid in forkservers)
