"""Collects waiting jobs into batches. The delay is an upper bound, not a fixed wait.

An idle host gets the waiting jobs at once. While hosts are busy, jobs collect by themselves. A wait pays only right
after a batch, when its clients are about to send again: it ends when as many rows wait as the last batch had, and after
`max_batch_delay_ms` at the latest. `priority_queue` decides the order of jobs.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable

from registry.serving.settings import ServingSettings
from workers.engine.batching.batch_size import BatchSize
from workers.engine.batching.priority_queue import PriorityQueue
from workers.engine.intake.messages import QueuedJob


class Batcher:
    """The waiting jobs of one endpoint; belongs to one event loop."""

    def __init__(self, settings: ServingSettings) -> None:
        self.settings = settings
        #: The batch size of the version that takes batches now.
        self.size = BatchSize(settings)
        self._jobs = PriorityQueue()
        self._alone: deque[QueuedJob] = deque()
        self._rows = 0
        self._goal = 0
        self._arrived = asyncio.Event()
        #: The batcher that gets what is put here.
        self._successor: Batcher | None = None
        #: The hosts that wait for a batch, and when the last of them became idle (monotonic).
        self._idle_hosts = 0
        self._idle_since = 0.0

    def __len__(self) -> int:
        """The number of waiting jobs."""
        return len(self._jobs) + len(self._alone)

    @property
    def jobs(self) -> list[QueuedJob]:
        """The waiting jobs."""
        return [*self._alone, *self._jobs]

    def put(self, jobs: Iterable[QueuedJob]) -> None:
        """Add jobs, each behind others of its priority; jobs that must run alone get a batch each."""
        if self._successor is not None:
            self._successor.put(jobs)
            return
        for job in jobs:
            if job.alone:
                self._alone.append(job)
            else:
                self._jobs.append(job)
                self._rows += len(job.rows)
        self._arrived.set()

    def put_back(self, jobs: Iterable[QueuedJob]) -> None:
        """Add jobs that were taken, before all others of their priorities."""
        if self._successor is not None:
            self._successor.put_back(jobs)
            return
        for job in reversed(list(jobs)):
            self._jobs.appendleft(job)
            self._rows += len(job.rows)
        self._arrived.set()

    def succeeded_by(self, successor: Batcher) -> list[QueuedJob]:
        """Hand over all waiting jobs, and those that are put here from now on; return the waiting ones."""
        jobs = self.take_all()
        self._successor = successor
        successor.put(jobs)
        return jobs

    @property
    def has_full_batch(self) -> bool:
        """Whether the next batch is as large as it can be, so that a wait for more jobs gains nothing."""
        return not self._alone and self._rows >= self.size.rows

    @property
    def serves_at_once(self) -> bool:
        """Whether a host waits, and would take a single job without waiting for more."""
        if not self._idle_hosts or len(self):
            return False
        return self._goal <= 1 or time.monotonic() - self._idle_since > self._delay_s

    @property
    def _delay_s(self) -> float:
        return self.settings.max_batch_delay_ms / 1000

    async def ready(self) -> None:
        """Wait until a batch should be taken; another host may be faster, and then `take` returns an empty batch."""
        self._idle_hosts += 1
        self._idle_since = time.monotonic()
        try:
            await self._ready()
        finally:
            self._idle_hosts -= 1

    async def _ready(self) -> None:
        delay_s = self._delay_s
        idle_since = time.monotonic()
        while not len(self):
            self._arrived.clear()
            await self._arrived.wait()
        idle = time.monotonic() - idle_since > delay_s
        deadline = time.monotonic() + (0.0 if idle else delay_s)
        goal = min(self._goal, self.size.rows)
        while not self._alone and self._rows < goal and (left_s := deadline - time.monotonic()) > 0:
            self._arrived.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._arrived.wait()
            except TimeoutError:
                break

    def take(self) -> list[QueuedJob]:
        """Remove and return the next batch, possibly empty: at most `size.rows` rows, or one job."""
        if self._alone:
            return [self._alone.popleft()]
        batch: list[QueuedJob] = []
        rows, most_rows = 0, self.size.rows
        while self._jobs and (not batch or rows + len(self._jobs.first.rows) <= most_rows):
            job = self._jobs.popleft()
            batch.append(job)
            rows += len(job.rows)
        self._rows -= rows
        self._goal = rows
        return batch

    def take_all(self) -> list[QueuedJob]:
        """Remove and return every waiting job."""
        jobs = self.jobs
        self._alone.clear()
        self._jobs.clear()
        self._rows = 0
        return jobs
