"""A queue of waiting jobs, ordered by priority and age; used like a deque."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from workers.engine.intake.messages import QueuedJob
from workers.queues.priorities import ORDERS, ROUND, Priority


class PriorityQueue:
    """Waiting jobs by priority, each in order of arrival; priorities take turns (`workers.queues.priorities`)."""

    def __init__(self) -> None:
        self._jobs: dict[Priority, deque[QueuedJob]] = {priority: deque() for priority in Priority}
        self._normal = self._jobs[Priority.NORMAL]
        self._count = 0
        self._turn = 0

    def __len__(self) -> int:
        """The number of waiting jobs."""
        return self._count

    def __iter__(self) -> Iterator[QueuedJob]:
        """Iterate over the waiting jobs, the most urgent first."""
        for jobs in self._jobs.values():
            yield from jobs

    @property
    def first(self) -> QueuedJob:
        """The job that `popleft` returns next. Raises IndexError if the queue is empty."""
        return self._next()[0]

    def append(self, job: QueuedJob) -> None:
        """Add a job behind all others of its priority."""
        self._jobs[job.priority].append(job)
        self._count += 1

    def appendleft(self, job: QueuedJob) -> None:
        """Add a job before all others of its priority."""
        self._jobs[job.priority].appendleft(job)
        self._count += 1

    def popleft(self) -> QueuedJob:
        """Remove and return the next job. Raises IndexError if the queue is empty."""
        job = self._next().popleft()
        self._count -= 1
        self._turn = (self._turn + 1) % ROUND
        return job

    def clear(self) -> None:
        """Remove all jobs."""
        for jobs in self._jobs.values():
            jobs.clear()
        self._count = 0

    def _next(self) -> deque[QueuedJob]:
        if len(self._normal) == self._count:  # as nearly always
            return self._normal
        return next(jobs for priority in ORDERS[self._turn] if (jobs := self._jobs[priority]))
