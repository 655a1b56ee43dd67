"""Runs failed pipelines again: a new pipeline, which takes over what has succeeded and begins with the rest."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from api.auth.identity import Identity
from api.errors import RequestInvalid
from api.jobs.schemas import Retry
from api.predictions import service as prediction_service
from api.predictions.schemas import Prediction
from api.predictions.service import Submitted
from api.process.services import Services
from workers.errors import InputNotKept, JobNotFound, JobUnreadable, QueueFull
from workers.jobs import dead_letters, query
from workers.jobs.accept import Idempotency
from workers.jobs.job import JobOptions
from workers.jobs.query import JobState, JobView
from workers.pipelines import submitting
from workers.pipelines.pipeline import Step, rows_of, steps_of
from workers.pipelines.submitting import NewPipeline


def retry(services: Services, caller: Identity, job: JobView, wanted: Retry, key: str | None = None) -> Submitted:
    """Submit the steps of a failed pipeline from the failed one on, as a new pipeline of the same owner and priority.

    The input of the failed step is what the step before it has predicted, or an edited one.

    Raises:
        InputNotKept: no input is given, and neither that of the step nor the outcome before it is there any more.
        RequestInvalid: an endpoint is named, but a pipeline has several.
        EndpointNotDeployed, EndpointForbidden, EndpointFailed, InputInvalid, TooManyJobs, QueueUnavailable,
            IdempotencyConflict: as for single submits.
    """
    if wanted.endpoint_name is not None:
        raise RequestInvalid.of("endpoint_name", "can't be given for a pipeline: each of its steps has its own")
    done, left = _parts(job)
    rows = wanted.rows or kept_input(job)
    deployments = prediction_service.serving_endpoints(services, caller, [each.endpoint_name for each in left])
    for each in deployments:
        prediction_service.refuse_if_failed(each)
    prediction_service.check_input(deployments[0], Prediction(**rows))
    names = [each.endpoint_name for each in (*done, *left)]
    request = json.dumps(["retry", job.job_id, names, rows], sort_keys=True).encode()
    once = None if key is None else Idempotency(key, request)
    options = JobOptions(priority=job.priority, sticky_key=job.sticky_key)
    new = NewPipeline(names, rows, options, job.owner, done, once)
    try:
        found = submitting.submit(new, prediction_service.limits_of(deployments[0]))
    except QueueFull as error:
        raise prediction_service.too_many_jobs(deployments[0], error) from error
    return Submitted(found, deployments[0])


def kept_input(job: JobView) -> dict[str, Any]:
    """Return the input of the step at which a pipeline has failed. Raises InputNotKept."""
    done, left = _parts(job)
    if done:
        with suppress(JobNotFound, JobUnreadable):
            before = query.get(done[-1].job_id)
            if before.state is JobState.SUCCEEDED:
                return rows_of(before.outcome or {})
    letter = dead_letters.find(left[0].job_id) if left else None
    if letter is None or not (rows := letter.rows()):
        raise InputNotKept(job.job_id)
    return rows


def _parts(job: JobView) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Return the steps that have succeeded, and those after them."""
    steps = steps_of(job.steps)
    count = next((index for index, each in enumerate(steps) if each.status != JobState.SUCCEEDED), len(steps))
    return steps[:count], steps[count:]
