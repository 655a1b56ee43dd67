"""Endings of jobs: the record, the counters and the Celery event, for many jobs in one write."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from registry.deployments import DesiredDeployment
from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving import journal
from workers.engine.serving.trials import arm_counts
from workers.engine.supervision import persistently
from workers.errors import EndpointUndeployed, JobFailed, PoisonJob
from workers.jobs import dead_letters, records, transitions
from workers.jobs.dead_letters import DeadLetter
from workers.jobs.dead_letters import Kind as LetterKind
from workers.jobs.records import Outcome
from workers.jobs.transitions import Finish
from workers.measures.counters import Kind
from workers.platform.redis.client import in_parts

#: One write blocks Redis, and a script can't take many more arguments.
_WRITTEN_AT_ONCE = 1_000
#: Bytes of records in one write: if the connection is lost, written parts are not sent again.
_WRITTEN_AT_ONCE_BYTES = 2 * 1024 * 1024


class Ending(msgspec.Struct, frozen=True):
    """The ending of one job; `send_event` is called if the job had not ended before."""

    job: QueuedJob
    finish: Finish
    send_event: Callable[[], None]
    dead_letter: DeadLetter | None = None
    #: Called after the event.
    copy: Callable[[], None] | None = None


def write_soon(context: Context, deployment: DesiredDeployment, endings: Sequence[Ending]) -> None:
    """Write endings in the background, together with those that other hosts add in the same turn of the event loop."""
    if not endings:
        return
    key = id(deployment)
    if (pending := context.pending_endings.get(key)) is not None:
        pending.extend(endings)
        return
    context.pending_endings[key] = added = list(endings)

    async def write_all() -> None:
        del context.pending_endings[key]
        await write(context, deployment, added)

    def forget(_: object) -> None:
        # A task that is cancelled before it starts writes nothing, and nothing must be added to its list.
        if context.pending_endings.get(key) is added:
            del context.pending_endings[key]

    context.in_background(write_all()).add_done_callback(forget)


async def write(context: Context, deployment: DesiredDeployment, endings: Sequence[Ending]) -> None:
    """Write terminal records, then acknowledge the messages, however long Redis is away."""
    has_journal = journal.keeps(deployment)

    def written_bytes(ending: Ending) -> int:
        # With its message go its inputs.
        return _written_bytes(ending) + (len(ending.job.message) if has_journal else 0)

    # Dead letters come last, in a write of their own: if Redis refuses them, the others have ended.
    for part in ([each for each in endings if not each.dead_letter], [each for each in endings if each.dead_letter]):
        for some in in_parts(part, written_bytes, _WRITTEN_AT_ONCE, _WRITTEN_AT_ONCE_BYTES):
            await _write(context, deployment, some)


def _written_bytes(ending: Ending) -> int:
    of_dead_letter = len(ending.dead_letter.message) if ending.dead_letter else 0
    return len(ending.finish.record) + len(ending.finish.letter) + of_dead_letter


async def _write(context: Context, deployment: DesiredDeployment, endings: Sequence[Ending]) -> None:
    now, name, ttl_s = time.time(), deployment.endpoint_name, deployment.settings.result_ttl_s
    finishes = [each.finish for each in endings]
    if deployment.is_replay:
        finishes = [replace(each, is_counted=False) for each in finishes]
    if dead := [ending.dead_letter for ending in endings if ending.dead_letter]:
        await context.for_endpoint(name, "keep dead letters", lambda: dead_letters.keep(context.records, dead))
    jobs, intake = [ending.job for ending in endings], context.intake
    leases = [job.tag for job in jobs] if intake.leases_are_beside_records else []

    def refused(why: str | None) -> None:
        context.trouble(name, "count ended jobs", why)

    of_journal = journal.part(context.worker_name, deployment, jobs, finishes)

    async def finish() -> list[bool]:
        return await transitions.finish(context.records, name, finishes, now, ttl_s, leases, refused, of_journal)

    with intake.ending(leases):
        written = await context.for_endpoint(name, "write outcomes", finish)
    if not leases:
        await persistently("acknowledge jobs", lambda: intake.ack(jobs))
    firsts = [ending for ending, first in zip(endings, written, strict=True) if first]
    context.counters.ended(deployment, [ending.finish.kind for ending in firsts])
    arm_counts.count_ended(context, [(ending.job, ending.finish.kind) for ending in firsts])
    for ending in firsts:
        ending.send_event()
        if ending.copy is not None:
            ending.copy()


def succeeded(context: Context, job: QueuedJob, outcome: Outcome, started_at: float, now: float) -> Ending:
    """Return the ending of a job with an outcome (times: seconds since the epoch)."""
    text = records.outcome(outcome)
    record = records.succeeded(job, text, started_at, now)
    timing = outcome.timing
    # A bare Celery program does not say when it has sent a job.
    queued_ms = timing.queued_ms if job.waits_since else None
    times = (timing.total_ms, job.owner, queued_ms, timing.predict_ms)
    finish = Finish(job.job_id, record, Kind.SUCCEEDED, *times)
    return Ending(job, finish, lambda: context.event_buffer.succeeded(job, text, now - started_at))


def failed(  # noqa: PLR0913 - what an ending says
    context: Context, job: QueuedJob, error: JobFailed, started_at: float | None, now: float, *, traceback: str = ""
) -> Ending:
    """Return the ending of a job with an error, and the traceback of the model's code if it has raised."""
    record = records.failed(
        job, error, now, started_at=started_at, traceback=traceback, errors_module=job.errors_module
    )
    latency_ms = max(0.0, now - job.waits_since) * 1000 if job.waits_since else None
    queued_ms = max(0.0, started_at - job.waits_since) * 1000 if job.waits_since and started_at else None
    finish = Finish(job.job_id, record, Kind.FAILED, latency_ms, job.owner, queued_ms)
    return Ending(job, finish, lambda: context.event_buffer.failed(job, error))


def kept(context: Context, deployment: DesiredDeployment, ending: Ending, error: JobFailed, now: float) -> Ending:
    """Return the ending of a job that has failed at a host; it keeps the job's input, if the deployment says so."""
    job, most_bytes = ending.job, context.settings.failed_inputs_bytes * dead_letters.SHARE_OF_ENDPOINT
    if not deployment.settings.keep_failed_inputs or len(job.message) > most_bytes:
        return ending
    failures = tuple(job.failures)
    letter = DeadLetter(
        job.job_id, job.endpoint_name, job.message, failures, job.submitted_at, now, LetterKind.FAILED, str(error)
    )
    return replace(ending, finish=replace(ending.finish, letter=dead_letters.stored(letter)))


def poison(context: Context, deployment: DesiredDeployment, job: QueuedJob, now: float) -> Ending:
    """Return the ending of a job whose attempts were all lost: it fails, and is kept as a dead letter.

    The jobs of evaluations just fail.
    """
    last = job.failures[-1]["reason"]
    if deployment.is_replay:
        error = PoisonJob(f"Given up after {len(job.failures)} lost attempts, the last one: {last}")
        return failed(context, job, error, None, now)
    error = PoisonJob(
        f"Given up after {len(job.failures)} lost attempts, the last one: {last} "
        f"It is kept as a dead letter: GET /dead-letters/{job.job_id}."
    )
    letter = DeadLetter(job.job_id, job.endpoint_name, job.message, tuple(job.failures), job.submitted_at, now)
    return replace(failed(context, job, error, None, now), dead_letter=letter)


def stopped(context: Context, job: QueuedJob) -> Ending:
    """Return the ending of a job that was cancelled while it ran; its record is already written."""
    context.event_buffer.revoked(job, terminated=True)
    return withdrawn(context, job, records.CANCELLED, time.time())


def rejected(context: Context, job: QueuedJob, now: float) -> Ending:
    """Return the ending of a queued job whose endpoint was undeployed: it is cancelled, as the model has not failed."""
    error = EndpointUndeployed(f"Endpoint {job.endpoint_name!r} was undeployed and its queued jobs were rejected.")
    finish = Finish(job.job_id, records.revoked_for(job, error, now), Kind.WITHDRAWN, None, job.owner)
    return Ending(job, finish, lambda: context.event_buffer.revoked(job))


def withdrawn(context: Context, job: QueuedJob, reason: str, now: float) -> Ending:
    """Return the ending of a job that was cancelled or has expired before it ran."""
    finish = Finish(job.job_id, records.revoked(job, reason, now), Kind.WITHDRAWN, None, job.owner)
    return Ending(job, finish, lambda: context.event_buffer.revoked(job, expired=reason == records.EXPIRED))
