"""Where a queued job is in its queue, with what the registry knows of why nobody serves it."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from api.services import Services
from registry import deployments
from registry.deployments import Intent
from registry.errors import RegistryUnavailable
from workers import jobs
from workers.jobs import Job
from workers.paces import NO_READY_WORKER, PARKED


def placed(services: Services, job: Job) -> Job:
    """Return a job with its place, if it is queued.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    return explained(services, jobs.placed([job])[0])


def explained(services: Services, job: Job) -> Job:
    """Return a job that has its place with why nobody serves it, as far as the registry knows."""
    if job.place is None or job.place.reason != NO_READY_WORKER:
        return job
    try:
        with services.database.session() as session:
            found = deployments.find(session, job.endpoint_name)
    except RegistryUnavailable:
        return job  # what is known of it is true all the same
    if found is None or found.intent is not Intent.PARK:
        return job
    return replace(job, place=msgspec.structs.replace(job.place, reason=PARKED))
