"""The steps of a pipeline, with what the jobs that they are say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from api.process.services import Services
from workers.jobs import query, transitions
from workers.jobs.query import JobState, JobView
from workers.platform.redis.client import translated_errors


async def with_steps_on_loop(services: Services, job: JobView) -> JobView:
    """Return a pipeline whose steps have states and outcomes of now; another job as it is. Raises QueueUnavailable."""
    if not job.steps:
        return job
    with translated_errors():
        found = await services.jobs.desk.reads.records(_ids(job))
    return _joined(job, found)


def with_steps(job: JobView) -> JobView:
    """The same for a thread. Raises QueueUnavailable."""
    if not job.steps:
        return job
    with translated_errors():
        found = transitions.read(_ids(job))
    return _joined(job, found)


def _ids(job: JobView) -> list[str]:
    return [step["job_id"] for step in job.steps]


def _joined(job: JobView, found: Sequence[bytes | None]) -> JobView:
    jobs = [query.parse_if_readable(step["job_id"], record) for step, record in zip(job.steps, found, strict=True)]
    steps = tuple(_step(step, each) for step, each in zip(job.steps, jobs, strict=True))
    begun = [each for each in jobs if each is not None and each.started_at is not None]
    if job.state is JobState.QUEUED and begun:  # nobody has written it into the pipeline's record yet
        job = replace(job, state=JobState.RUNNING, started_at=begun[0].started_at)
    return replace(job, steps=steps, record_bytes=job.record_bytes + _bytes(found))


def _step(step: dict[str, Any], job: JobView | None) -> dict[str, Any]:
    # A step whose record is gone has what the pipeline's record says.
    if job is None:
        return step
    return {
        **step,
        "status": job.state.value,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "outcome": job.outcome,
        "error": job.error,
    }


def _bytes(found: Iterable[bytes | None]) -> int:
    return sum(len(each) for each in found if each is not None)
