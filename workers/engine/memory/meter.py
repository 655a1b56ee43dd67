"""Measures the memory of all hosts of a worker again and again, and keeps it within the budget."""

from __future__ import annotations

import asyncio
import math
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
#: A measurement of all hosts, also of those that have rested: its least interval (s), and its share of the time.
_COMPLETE_S = 2.0
_MOST_SHARE_COMPLETE = 50
#: The same once many have come or gone. What they share hardly changes by that: most of it is the forkserver's.
_MOST_SHARE_COMPLETE_AGAIN = 25
#: What hosts share is known although so many parts of them have come or gone while it was measured.
_STEADY_PARTS = 10
#: So many page faults change the memory of a process too little to measure it again.
_FEW_FAULTS = 64
#: Interval of looks for room while hosts wait for memory: idle endpoints may have become more.
_WAITING_S = 0.1


class MemoryMeter:
    """Measures until cancelled; belongs to the budget's event loop.

    Args:
        measure: returns what a process and its descendants use.
        measure_own: the same without descendants.
        forkserver_pids: returns the processes that hosts are forked from.
        page_faults: returns how many page faults a process and its descendants have had. To measure a process takes
            some milliseconds, and without page faults it has no more memory than before. None: measure each time.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - constructed in one place
        self,
        budget: MemoryBudget,
        versions: Versions,
        measure: Callable[[int], MemoryUsage],
        measure_own: Callable[[int], MemoryUsage],
        forkserver_pids: Callable[[], Sequence[int]],
        page_faults: Callable[[int], int] | None = None,
    ) -> None:
        self._budget = budget
        self._versions = versions
        self._measure = measure
        self._measure_own = measure_own
        self._forkserver_pids = forkserver_pids
        self._page_faults = page_faults
        #: The page faults of each process when it was measured.
        self._faults: dict[int, int] = {}
        #: When all are measured again (monotonic, s), or if many have come or gone; and those that were last.
        self._complete_at = self._again_at = -math.inf
        self._complete: set[int] = set()

    async def run(self) -> None:
        """Measure, relieve, and look for room for waiting hosts."""
        while True:
            began = time.monotonic()
            took_s = await self.look()
            while (left_s := began + self._interval_s(took_s) - time.monotonic()) > 0:
                await asyncio.sleep(min(left_s, _WAITING_S))
                self._budget.serve_waiters()

    def _interval_s(self, took_s: float) -> float:
        """Return the interval of measurements, one of which takes so much of a processor's time."""
        if self._budget.has_waiters:
            return max(_INTERVAL_IF_CHANGING_S, took_s * _MOST_SHARE_IF_WAITING)
        if any(each.pid is not None and (each.kill is not None or each.usage is None) for each in self._budget.claims):
            return max(_INTERVAL_IF_CHANGING_S, took_s * _MOST_SHARE_IF_CHANGING)
        return max(_INTERVAL_S, took_s * _MOST_SHARE)

    async def look(self) -> float:
        """Measure the hosts whose memory may have changed, at times all of them, and get back under the limit.

        Returns how much of a processor's time that took (s): on a busy machine it lasts longer, and is as urgent.
        """
        before, began = self._pids(), time.monotonic()
        if began >= (self._complete_at if self._is_steady(before) else self._again_at):
            usages, forkserver_bytes, took_s = await asyncio.to_thread(self._measured, before, self._forkserver_pids())
            common = sum(each.pss_bytes - each.private_bytes for each in usages.values()) + forkserver_bytes
            if not self._is_sure(before, set(usages)):  # rather too much than too little
                common = max(common, self._budget.shared_bytes or 0)
            self._budget.measured(usages, common)
            ended, self._complete = time.monotonic(), before
            self._complete_at = ended + max(_COMPLETE_S, took_s * _MOST_SHARE_COMPLETE)
            self._again_at = ended + took_s * _MOST_SHARE_COMPLETE_AGAIN
        else:
            usages, _, took_s = await asyncio.to_thread(self._measured, before, (), only_changed=True)
            self._budget.measured(usages)
        for each in self._budget.claims:
            if each.pid in usages and each.usage is not None and each.usage.private_bytes:
                await self._versions.measured(each.artifact_sha256, each.usage.private_bytes)
        self._budget.relieve()
        self._budget.serve_waiters()
        return took_s

    def _is_sure(self, before: set[int], measured: set[int]) -> bool:
        """Whether what hosts share is known.

        When many have come or gone meanwhile, shares of pages have moved, and are counted twice or not at all.
        """
        moved = (self._pids() ^ before) | (before ^ measured)
        return len(moved) <= len(before) / _STEADY_PARTS or self._budget.shared_bytes is None

    def _is_steady(self, pids: set[int]) -> bool:
        """Whether the hosts are about those of the last complete measurement."""
        return len(pids ^ self._complete) <= len(pids) / _STEADY_PARTS

    def _pids(self) -> set[int]:
        return {each.pid for each in self._budget.claims if each.pid is not None}

    def _measured(
        self, pids: Iterable[int], forkservers: Sequence[int], *, only_changed: bool = False
    ) -> tuple[dict[int, MemoryUsage], int, float]:
        """Return what processes use by pid, what forkservers do, and the processor's time for it (s)."""
        began_s = time.thread_time()
        faults = self._faults_of(pids)
        if only_changed and faults:
            known = self._faults
            pids = [pid for pid, count in faults.items() if pid not in known or count - known[pid] > _FEW_FAULTS]
        found = {pid: usage for pid in pids if (usage := self._measure(pid)).pss_bytes}
        self._faults = {pid: faults[pid] if pid in found else self._faults.get(pid, 0) for pid in faults}
        forkserver_bytes = sum(self._measure_own(pid).pss_bytes for pid in forkservers)
        return found, forkserver_bytes, time.thread_time() - began_s

    def _faults_of(self, pids: Iterable[int]) -> dict[int, int]:
        """Return the page faults of each process; nothing if they aren't known."""
        count = self._page_faults
        return {} if count is None else {pid: count(pid) for pid in pids}
