"""Cancels the queued jobs of an endpoint while it serves, a page at a time: no step blocks Redis for long.

The jobs are withdrawn as by a cancel of each. Their messages stay in the queue until a worker meets and drops them.
Jobs of bare Celery programs have no record before a worker takes them, and so are not found here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from workers import keys
from workers.jobs import query, records, transitions
from workers.jobs.query import JobState, JobView
from workers.platform.redis.client import records_client, translated_errors

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Which:
    """Which queued jobs of an endpoint are meant."""

    endpoint_name: str
    #: Those that were submitted at least so long ago.
    older_than_s: float = 0.0
    #: Also those that wait for their time, and so are not in the queue.
    delayed: bool = False
    #: The only owner whose jobs are meant; None is all.
    owner: str | None = None

    def has(self, job: JobView, now: float) -> bool:
        """Tell whether a job is meant (`now`: s since the epoch)."""
        return (
            job.state is JobState.QUEUED
            and self.owner in (None, job.owner)
            and (self.delayed or not job.is_delayed)
            and (job.submitted_at or 0.0) <= now - self.older_than_s
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """What one call has found and cancelled; `cursor` continues, 0 means that all jobs were looked at."""

    matched: int
    cancelled: int
    cursor: int


def cancel_queued(which: Which, *, cursor: int = 0, budget_s: float = 2.0, dry_run: bool = False) -> Progress:
    """Cancel queued jobs for about `budget_s`; with `dry_run` only count them.

    Jobs that begin meanwhile run. Repeated, it continues with what is left.

    Raises:
        QueueUnavailable: Redis can't be reached; some may be cancelled.
    """
    ends_at, matched, cancelled = time.monotonic() + budget_s, 0, 0
    with translated_errors():
        while True:
            cursor, jobs = _page(which, cursor)
            matched += len(jobs)
            cancelled += 0 if dry_run else _withdrawn(which.endpoint_name, jobs)
            if cursor == 0 or time.monotonic() >= ends_at:
                return Progress(matched, cancelled, cursor)


def _page(which: Which, cursor: int) -> tuple[int, list[JobView]]:
    """Return the jobs of one step through the unfinished ones, and where the next step begins."""
    name = keys.unfinished(which.endpoint_name)
    found = cast("tuple[int, list[tuple[bytes, float]]]", records_client().zscan(name, cursor, count=_PAGE))
    following, members = found
    ids = [job_id.decode() for job_id, _ in members]
    now, jobs = time.time(), []
    for at in range(0, len(ids), _PAGE):
        some = ids[at : at + _PAGE]
        read = zip(some, transitions.read(some), strict=True)
        jobs += [job for job_id, record in read if (job := query.parse_if_readable(job_id, record)) is not None]
    return following, [job for job in jobs if which.has(job, now)]


def _withdrawn(endpoint_name: str, jobs: Sequence[JobView]) -> int:
    """Cancel jobs; return how many of them were still queued."""
    now, count = time.time(), 0
    for at in range(0, len(jobs), _PAGE):
        page = [(job, records.revoked(job, records.CANCELLED, now)) for job in jobs[at : at + _PAGE]]
        count += transitions.withdraw_queued(endpoint_name, page)
    return count
