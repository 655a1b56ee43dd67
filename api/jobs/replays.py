"""Sends dead letters again, as new jobs."""

from __future__ import annotations

from api.auth.identity import Identity
from api.predictions import service as prediction_service
from api.predictions.schemas import Prediction
from api.predictions.service import Submitted
from api.process.services import Services
from workers.errors import QueueFull
from workers.jobs import dead_letters


def replay(services: Services, caller: Identity, job_id: str, endpoint_name: str | None) -> Submitted:
    """Submit a dead letter's input as a new job, to its endpoint or to another one, and discard the letter.

    Raises:
        DeadLetterNotFound: there is none for this job.
        JobArgumentsWrong: its message can't be read.
        EndpointNotDeployed, EndpointFailed, InputInvalid, TooManyJobs, QueueUnavailable: as for
            single submits; the letter is still there.
    """
    letter = dead_letters.get(job_id)
    deployment = prediction_service.serving_endpoint(services, caller, endpoint_name or letter.endpoint_name)
    prediction_service.refuse_if_failed(deployment)
    if rows := letter.rows():
        prediction_service.check_input(deployment, Prediction(**rows))
    try:
        job = dead_letters.replay(job_id, deployment.endpoint_name, prediction_service.limits_of(deployment))
    except QueueFull as error:
        raise prediction_service.too_many_jobs(deployment, error) from error
    return Submitted(job, deployment)
