"""Many jobs at once, as they stand or as soon as all of them have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from workers import jobs, records, waiting
from workers.jobs import Job
from workers.redis_client import translated_errors

#: More are refused: they are looked up one page after the other, while the caller waits.
MAX_JOBS = 1_000
#: Records that are read before more are left for another call; outcomes can be long.
MAX_BYTES = 8_000_000
_PAGE = 100


@dataclass
class Found:
    """What a look-up has found, in the order in which it was asked for."""

    jobs: list[Job] = field(default_factory=list)
    #: Never submitted, or their records have expired.
    unknown_job_ids: list[str] = field(default_factory=list)
    #: Not looked at: there is enough in this answer.
    left_job_ids: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return what was found as the HTTP API shows it."""
        return {
            "jobs": [job.document() for job in self.jobs],
            "unknown_job_ids": self.unknown_job_ids,
            "left_job_ids": self.left_job_ids,
        }


def look_up(job_ids: Sequence[str], wait_s: float = 0, owner: str | None = None) -> Found:
    """Return these jobs as soon as all have ended, or as they stand after `wait_s`; with an `owner`, theirs alone.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    ids = list(dict.fromkeys(job_ids))
    if wait_s > 0:
        # When somebody else's job ends is nobody's business.
        theirs = ids if owner is None else [job.job_id for job in _read(ids, owner).jobs]
        waiting.default_waiter().wait_for_all(theirs, wait_s)
    found = _read(ids, owner)
    found.jobs = jobs.placed(found.jobs)
    return found


def _read(ids: list[str], owner: str | None) -> Found:
    found, size_bytes = Found(), 0
    for start in range(0, len(ids), _PAGE):
        if size_bytes > MAX_BYTES:
            found.left_job_ids = ids[start:]
            break
        page = ids[start : start + _PAGE]
        with translated_errors():
            read = records.read(page)
        size_bytes += sum(len(record) for record in read if record is not None)
        for job_id, record in zip(page, read, strict=True):
            job = None if record is None else jobs.parse(job_id, record)
            if job is None or owner not in (None, job.owner):
                found.unknown_job_ids.append(job_id)
            else:
                found.jobs.append(job)
    return found
