"""Looks up many jobs in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.jobs import query
from workers.jobs.on_loop.reads import Reads
from workers.jobs.on_loop.waits import Waits
from workers.jobs.query import JobView
from workers.platform.loops.blocking import beside
from workers.platform.redis.client import translated_errors

#: More are refused: they are looked up one page after the other, while the caller waits.
MAX_JOBS = 1_000
#: Records that are read before more are left for another call; outcomes can be long.
MAX_BYTES = 8_000_000
_PAGE = 100


@dataclass
class Found:
    """What a look-up has found, in the order in which it was asked for."""

    jobs: list[JobView] = field(default_factory=list)
    #: Never submitted, or their records have expired.
    unknown_job_ids: list[str] = field(default_factory=list)
    #: Not looked at: there is enough in this answer.
    left_job_ids: list[str] = field(default_factory=list)
    #: Of the records of the jobs.
    size_bytes: int = 0

    def document(self) -> dict[str, Any]:
        """Return what was found as the HTTP API shows it."""
        return {
            "jobs": [job.document() for job in self.jobs],
            "unknown_job_ids": self.unknown_job_ids,
            "left_job_ids": self.left_job_ids,
        }


async def look_up(
    reads: Reads, waits: Waits, job_ids: Sequence[str], wait_s: float = 0, owner: str | None = None
) -> Found:
    """Return these jobs as soon as all have ended, or as they stand after `wait_s`; with an `owner`, theirs alone.

    If too many jobs are awaited here already, it does not wait.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    ids = list(dict.fromkeys(job_ids))
    with translated_errors():
        if wait_s > 0 and waits.has_room(len(ids)):
            # The ends of other clients' jobs are not shown.
            theirs = ids if owner is None else [job.job_id for job in (await _read(reads, ids, owner)).jobs]
            await waits.wait_for_all(theirs, wait_s)
        found = await _read(reads, ids, owner)
    found.jobs = await reads.with_positions(found.jobs)
    return found


async def _read(reads: Reads, ids: list[str], owner: str | None) -> Found:
    found, left_bytes, start = Found(), MAX_BYTES, 0
    while start < len(ids):
        if left_bytes <= 0:
            found.left_job_ids = ids[start:]
            break
        read = await reads.some(ids[start : start + _PAGE], left_bytes)
        size_bytes = sum(len(record) for record in read if record is not None)
        left_bytes -= size_bytes
        found.size_bytes += size_bytes
        page = ids[start : start + len(read)]
        start += len(read)
        for job_id, job in zip(page, await beside(size_bytes, _shown, page, read), strict=True):
            if job is None or not await reads.is_of(owner, job):
                found.unknown_job_ids.append(job_id)
            else:
                found.jobs.append(job)
    return found


def _shown(job_ids: Sequence[str], records: Sequence[bytes | None]) -> list[JobView | None]:
    pairs = zip(job_ids, records, strict=True)
    return [None if record is None else query.shown(job_id, record) for job_id, record in pairs]
