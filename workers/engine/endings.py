"""How jobs end: the record, what is counted, and what Flower is told, for many jobs in one write."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from registry.deployments import DesiredDeployment
from workers import dead_letters, documents
from workers.dead_letters import DeadLetter
from workers.documents import Outcome
from workers.engine import outcomes
from workers.engine.context import Context, persistently
from workers.engine.messages import QueuedJob
from workers.engine.outcomes import Finish
from workers.errors import JobFailed, PoisonJob
from workers.statistics import Kind

#: Redis does nothing else meanwhile; many more than this its scripts can't take.
_WRITTEN_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of one job; `tell` is called if it is the first that the job has."""

    job: QueuedJob
    finish: Finish
    tell: Callable[[], None]
    dead_letter: DeadLetter | None = None


async def write(context: Context, deployment: DesiredDeployment, endings: Sequence[Ending]) -> None:
    """Write terminal records, and only then let go of the messages; however long Redis is away."""
    for start in range(0, len(endings), _WRITTEN_AT_ONCE):
        await _write(context, deployment, endings[start : start + _WRITTEN_AT_ONCE])


async def _write(context: Context, deployment: DesiredDeployment, endings: Sequence[Ending]) -> None:
    now, name, ttl_s = time.time(), deployment.endpoint_name, deployment.settings.result_ttl_s
    finishes = [ending.finish for ending in endings]
    if dead := [ending.dead_letter for ending in endings if ending.dead_letter]:
        await persistently("keep dead letters", lambda: dead_letters.keep(context.records, dead))
    jobs, intake = [ending.job for ending in endings], context.intake
    leases = [job.tag for job in jobs] if intake.leases_are_beside_records else []
    written = await persistently(
        "write outcomes", lambda: outcomes.finish(context.records, name, finishes, now, ttl_s, leases)
    )
    if leases:
        intake.let_go(leases)
    else:
        await persistently("acknowledge jobs", lambda: intake.ack(jobs))
    firsts = [ending for ending, first in zip(endings, written, strict=True) if first]
    context.measures.ended(deployment, [ending.finish.kind for ending in firsts])
    for ending in firsts:
        ending.tell()


def succeeded(context: Context, job: QueuedJob, outcome: Outcome, started_at: float, now: float) -> Ending:
    """The end of a job with an outcome (times: seconds since the epoch)."""
    text = documents.outcome(outcome)
    record = documents.succeeded(
        job.job_id,
        job.endpoint_name,
        text,
        job.submitted_at,
        started_at,
        now,
        attempts=job.attempts,
        failures=job.failures,
        owner=job.owner,
        priority=job.priority,
    )
    finish = Finish(job.job_id, record, Kind.SUCCEEDED, outcome.timing.total_ms)
    return Ending(job, finish, lambda: context.outbox.succeeded(job, text, now - started_at))


def failed(context: Context, job: QueuedJob, error: JobFailed, started_at: float | None, now: float) -> Ending:
    """The end of a job with an error."""
    record = documents.failed(
        job.job_id,
        job.endpoint_name,
        error,
        job.submitted_at,
        now,
        started_at=started_at,
        attempts=job.attempts,
        failures=job.failures,
        owner=job.owner,
        priority=job.priority,
    )
    latency_ms = max(0.0, now - job.submitted_at) * 1000 if job.submitted_at else None
    finish = Finish(job.job_id, record, Kind.FAILED, latency_ms)
    return Ending(job, finish, lambda: context.outbox.failed(job, error))


def poison(context: Context, job: QueuedJob, now: float) -> Ending:
    """The end of a job whose every attempt was lost: it fails, and is kept with its message and the reasons."""
    last = job.failures[-1]["reason"]
    error = PoisonJob(
        f"Given up after {len(job.failures)} lost attempts, the last one: {last} "
        f"It is kept as a dead letter: GET /dead-letters/{job.job_id}."
    )
    letter = DeadLetter(job.job_id, job.endpoint_name, job.message, tuple(job.failures), job.submitted_at, now)
    return replace(failed(context, job, error, None, now), dead_letter=letter)


def stopped(context: Context, job: QueuedJob) -> Ending:
    """The end of a job that was cancelled while it ran; its record says so already."""
    context.outbox.revoked(job, terminated=True)
    return withdrawn(context, job, documents.CANCELLED, time.time())


def withdrawn(context: Context, job: QueuedJob, reason: str, now: float) -> Ending:
    """The end of a job that was cancelled or has expired before it ran."""
    about = job.job_id, job.endpoint_name, reason, job.submitted_at, now
    record = documents.revoked(*about, owner=job.owner, priority=job.priority)
    finish = Finish(job.job_id, record, Kind.WITHDRAWN, None)
    return Ending(job, finish, lambda: context.outbox.revoked(job, expired=reason == documents.EXPIRED))
