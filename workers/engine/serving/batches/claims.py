"""Claims the jobs of a batch, before a host has them.

A claim counts the attempts in the job's record, so that the next worker recognises a job that crashes worker after
worker. Such a job runs alone, and fails after `max_attempts` lost attempts.
"""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple

from registry.deployments import DesiredDeployment
from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving import finish
from workers.engine.serving.finish import Ending
from workers.engine.supervision import persistently
from workers.jobs import records, transitions
from workers.jobs.job import Failure
from workers.jobs.transitions import Claim
from workers.measures import reports

_log = logging.getLogger(__name__)

#: A worker renews its leases each quarter of their length, so those of a killed worker run out later than this share of
#: it. A worker that has written a report since then is alive.
_REPORTED_WITHIN_LEASE_SHARE = 0.7


class Claimed(NamedTuple):
    """A batch after the claim."""

    #: Claimed by this worker.
    jobs: list[QueuedJob]
    #: To run again, each in a batch of its own.
    suspects: list[QueuedJob]
    #: The endings of jobs without attempts left.
    ends: list[Ending]


class _Attempt(NamedTuple):
    """An attempt that has begun."""

    worker: str
    #: "" in records of an earlier release.
    holder: str
    #: The tag of its lease.
    tag: str
    number: int
    #: Failures of earlier attempts.
    failures: list[Failure]


class Claims:
    """Claims for one batch of a deployment (`started_at`: s since the epoch)."""

    def __init__(self, context: Context, deployment: DesiredDeployment, started_at: float) -> None:
        self._context = context
        self._deployment = deployment
        self._started_at = started_at

    async def make(self, batch: list[QueuedJob], *, ahead: bool = False) -> Claimed:
        """Claim the jobs of a batch, in one round trip unless an attempt was lost; in none if the fetch claimed them.

        With `ahead`, jobs with earlier attempts are left for a batch of their own, so that the claim can be taken back.
        """
        claimed = Claimed([job for job in batch if job.claimed_at is not None], [], [])
        for job in claimed.jobs:
            job.claimed_at, job.attempts = None, max(1, job.attempts)
        left = [job for job in batch if job not in claimed.jobs] if claimed.jobs else batch
        if left:
            await self._make(left, claimed, ahead=ahead)
        return claimed

    async def _make(self, batch: list[QueuedJob], claimed: Claimed, *, ahead: bool) -> None:
        """Claim jobs, and add them to the right list of `claimed`."""
        context, name, ended = self._context, self._deployment.endpoint_name, []
        claims = [self._claim(job) for job in batch]

        def refused(why: str | None) -> None:
            context.trouble(name, "record new jobs", why)

        replies = await context.for_endpoint(
            name, "claim jobs", lambda: transitions.claim(context.records, name, claims, refused)
        )
        for job, reply in zip(batch, replies, strict=True):
            if reply == "":
                job.attempts = 1
                claimed.jobs.append(job)
            elif reply == "NOT_HELD":
                self._drop_not_held(job)
            elif not reply.startswith("{"):
                ended.append(job)
                if reply == "REVOKED":
                    context.event_buffer.revoked(job)
            elif ahead or (len(batch) > 1 and not job.interrupted):
                job.alone = True
                claimed.suspects.append(job)
            else:
                await self._claim_again(job, reply.encode(errors="surrogateescape"), claimed)
        if ended:
            context.in_background(persistently("acknowledge jobs", lambda: context.intake.ack(ended)))

    async def _claim_again(self, job: QueuedJob, expected: bytes, claimed: Claimed) -> None:
        """Claim a job whose last attempt did not end: its host was lost here, or another worker was lost."""
        previous = _parse_attempt(expected, job.job_id)
        if not (previous.worker == self._context.worker_name and previous.number == job.attempts):
            if previous.tag != job.tag and await self._is_leased(job, previous.tag):
                self._drop_duplicate(job)
                return
            job.attempts, job.failures, job.alone = previous.number, previous.failures, True
            job.interrupted = False
            if not await self._is_alive(job, previous):
                self._record_lost_attempt(job, previous.worker)
            if len(job.failures) >= self._deployment.settings.max_attempts:
                claimed.ends.append(finish.poison(self._context, self._deployment, job, self._started_at))
                return
        # Otherwise its batch was lost with a host here. Running it alone shows whether it is the cause.
        job.attempts += 0 if job.interrupted else 1
        job.interrupted = False
        record, records = self._record(job, job.attempts), self._context.records
        mine = await self._context.for_endpoint(
            job.endpoint_name, "claim a job", lambda: transitions.claim_again(records, job.job_id, expected, record)
        )
        (claimed.jobs if mine else claimed.suspects).append(job)

    async def _is_leased(self, job: QueuedJob, tag: str) -> bool:
        """Whether a worker holds the job under another tag, because its message was sent twice."""
        intake = self._context.intake
        return await self._context.for_endpoint(job.endpoint_name, "check a lease", lambda: intake.is_leased(tag))

    async def _is_alive(self, job: QueuedJob, previous: _Attempt) -> bool:
        """Whether the worker of an attempt is alive and has only lost its lease: it has written a report since then."""
        records, within_s = self._context.records, self._context.settings.lease_s * _REPORTED_WITHIN_LEASE_SHARE
        if not previous.holder:
            return False
        return await self._context.for_endpoint(
            job.endpoint_name,
            "check a report",
            lambda: reports.is_alive(records, previous.worker, previous.holder, within_s),
        )

    def _record_lost_attempt(self, job: QueuedJob, worker: str) -> None:
        job.failed(worker, self._started_at, f"Worker {worker} was lost while it ran this job.")
        fields = {"job_id": job.job_id}
        _log.warning("job %s was lost with worker %s (attempt %d)", job.job_id, worker, job.attempts, extra=fields)

    def _drop_duplicate(self, job: QueuedJob) -> None:
        """Acknowledge a second message of a job that already runs."""
        _log.info("dropping the second message of job %s, which runs", job.job_id, extra={"job_id": job.job_id})
        context = self._context
        context.in_background(persistently("acknowledge a job", lambda: context.intake.ack([job])))

    def _drop_not_held(self, job: QueuedJob) -> None:
        """Drop a job whose lease was lost: another worker holds it, or it is in its queue again."""
        _log.warning("dropping job %s: its lease was lost", job.job_id, extra={"job_id": job.job_id})
        if self._context.intake.keeps(job):
            self._context.intake.let_go([job.tag])

    def _claim(self, job: QueuedJob) -> Claim:
        tag = job.tag if self._context.intake.leases_are_beside_records else ""
        return Claim(job.job_id, self._record(job, 1), job.submitted_at or self._started_at, tag)

    def _record(self, job: QueuedJob, attempts: int) -> bytes:
        worker, holder = self._context.worker_name, self._context.intake.holder
        return records.started(job, self._started_at, attempts=attempts, worker=worker, holder=holder, tag=job.tag)


def _parse_attempt(record: bytes, job_id: str) -> _Attempt:
    """Parse the record of an attempt, in which every field may be invalid."""
    try:
        found = json.loads(record)
    except ValueError:
        found = {}
    result, number, failures = found.get("result"), found.get("attempts"), found.get("failures")
    names = result if isinstance(result, dict) else {}
    worker, holder, tag = (
        value if isinstance(value := names.get(name), str) else "" for name in ("hostname", "holder", "tag")
    )
    return _Attempt(
        worker,
        holder,
        tag or job_id,
        number if isinstance(number, int) and number > 0 else 1,
        failures if isinstance(failures, list) and all(_is_failure(each) for each in failures) else [],
    )


def _is_failure(found: Any) -> bool:
    return isinstance(found, dict) and Failure.__annotations__.keys() <= found.keys()
