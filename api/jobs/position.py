"""The queue position of a job, with the reason that the registry has for a queue without workers."""

from __future__ import annotations

from msgspec.structs import replace

from api.process.services import Services
from registry.deployments import Intent
from workers.jobs import query
from workers.jobs.query import JobView
from workers.measures.paces import NO_READY_WORKER, PARKED


def with_position(services: Services, job: JobView) -> JobView:
    """Return a job with its queue position, if it is queued.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    return explained(services, query.with_positions([job])[0])


async def with_position_on_loop(services: Services, job: JobView) -> JobView:
    """The same on the event loop. Raises QueueUnavailable."""
    if not job.state.terminal:
        await services.jobs.desk.fresh_paces.read(job.endpoint_name)
    [found] = await services.jobs.desk.reads.with_positions([job])
    return await explained_on_loop(services, found)


async def explained_on_loop(services: Services, job: JobView) -> JobView:
    """The same as `explained` on the event loop."""
    return _explained(job, await services.intents.read_on_loop(job.endpoint_name)) if _lacks_worker(job) else job


def explained(services: Services, job: JobView) -> JobView:
    """Return a job that has its queue position with a parked deployment as the reason, if the registry says so."""
    return _explained(job, services.intents.read(job.endpoint_name)) if _lacks_worker(job) else job


def _explained(job: JobView, intent: Intent | None) -> JobView:
    # Without an answer of the registry, what Redis says of it is still true.
    if intent is not Intent.PARK or job.queue_position is None:
        return job
    return replace(job, queue_position=replace(job.queue_position, reason=PARKED))


def _lacks_worker(job: JobView) -> bool:
    return job.queue_position is not None and job.queue_position.reason == NO_READY_WORKER
