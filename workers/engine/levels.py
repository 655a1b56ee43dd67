"""Jobs that wait, taken by their priorities and not by their age alone; to be used like a deque."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from workers.engine.messages import QueuedJob
from workers.priorities import ORDERS, ROUND, Priority


class Levels:
    """Waiting jobs of each priority, each in the order of arrival; their turns are those of `workers.priorities`."""

    def __init__(self) -> None:
        self._jobs: dict[Priority, deque[QueuedJob]] = {level: deque() for level in Priority}
        self._normal = self._jobs[Priority.NORMAL]
        self._count = 0
        self._turn = 0

    def __len__(self) -> int:
        """How many jobs wait."""
        return self._count

    def __iter__(self) -> Iterator[QueuedJob]:
        """The jobs that wait, the most urgent first."""
        for jobs in self._jobs.values():
            yield from jobs

    @property
    def first(self) -> QueuedJob:
        """The job that `popleft` returns next. Raises IndexError if there is none."""
        return self._next()[0]

    def append(self, job: QueuedJob) -> None:
        """Add a job behind all others of its priority."""
        self._jobs[job.priority].append(job)
        self._count += 1

    def popleft(self) -> QueuedJob:
        """Remove and return the job whose turn it is. Raises IndexError if there is none."""
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
        return next(jobs for level in ORDERS[self._turn] if (jobs := self._jobs[level]))
