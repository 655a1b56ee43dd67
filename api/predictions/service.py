"""Submits predictions: finds the deployment, checks the input, sends the job, and waits for it if asked.

Submits to an endpoint and to a model differ in the first step alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from api.auth import identity
from api.errors import EndpointFailed, EndpointNotDeployed, JobWithdrawn, PredictionFailed, TooManyJobs
from api.predictions import callbacks
from api.predictions.schemas import ModelPrediction, Prediction
from api.process.services import Services
from registry import deployments
from registry.deployments import DesiredDeployment, Intent
from registry.errors import DeploymentNotFound
from workers.deployments import snapshots, status
from workers.errors import QueueFull, QueueUnavailable
from workers.jobs import accept, query, waiting
from workers.jobs.accept import Idempotency, Limits
from workers.jobs.query import JobState, JobView
from workers.platform import logs
from workers.platform.ids import new_id

_NOT_SERVING = {
    Intent.DRAIN: "is being undeployed: it finishes its queued jobs and takes no new ones",
    Intent.REJECT: "is undeployed: its queued jobs were rejected and it takes no new ones",
    Intent.PARK: "is parked: its queued jobs wait for the next deploy and it takes no new ones",
}


@dataclass(frozen=True)
class Submitted:
    """A job that was accepted, and the deployment that it was accepted for."""

    job: JobView
    deployment: DesiredDeployment


def submit_to_endpoint(
    services: Services,
    endpoint_name: str,
    prediction: Prediction,
    wait_s: float | None,
    idempotency_key: str | None,
) -> Submitted:
    """Submit to an endpoint by its name; under an idempotency key that was used before, return that job.

    Raises:
        EndpointNotDeployed: there is no such endpoint, or it takes no new jobs.
        EndpointFailed: its first deploy failed, so that nothing would run the job.
        InputInvalid: the input doesn't fit the model's signature; names the place.
        WebhooksNotSetUp, CallbackRefused: no webhook can be sent to its callback URL.
        TooManyJobs: the endpoint's queue is full; tells when to come back.
        IdempotencyConflict: the idempotency key was used for another request.
        QueueUnavailable: the job could not be stored.
        JobUnsuccessful: it was waited for, and ended without an outcome.
    """
    return _submit(services, serving_endpoint(services, endpoint_name), prediction, wait_s, idempotency_key)


def submit_to_model(
    services: Services, prediction: ModelPrediction, wait_s: float | None, idempotency_key: str | None
) -> Submitted:
    """Submit to the deployment of a model, by default of its latest deployed version.

    Raises:
        EndpointNotDeployed: no deployment of the model (and version) takes jobs.
        EndpointFailed, InputInvalid, WebhooksNotSetUp, CallbackRefused, TooManyJobs, IdempotencyConflict,
            QueueUnavailable, JobUnsuccessful: as for `submit_to_endpoint`.
    """
    return _submit(services, _serving_model(services, prediction), prediction, wait_s, idempotency_key)


def serving_endpoint(services: Services, endpoint_name: str) -> DesiredDeployment:
    """Return the deployment that takes jobs under this name. Raises EndpointNotDeployed, EndpointForbidden."""
    identity.current().check_endpoint(endpoint_name)

    def read() -> DesiredDeployment:
        with services.database.session() as session:
            found = deployments.find(session, endpoint_name)
            if found is None or found.intent is not Intent.SERVE:
                raise _not_deployed(endpoint_name, found)
            return found

    return services.cache.get(endpoint_name, read, lambda: snapshots.read(endpoint_name))


def refuse_if_failed(deployment: DesiredDeployment, idempotency_key: str | None = None) -> None:
    """Raise EndpointFailed if no worker could load the deployment and nothing served before it.

    A job that was accepted under the same idempotency key is found as always.
    """
    reason = status.first_load_failure(deployment)
    if reason is not None and not (idempotency_key is not None and accept.is_used(idempotency_key)):
        raise EndpointFailed(deployment.endpoint_name, reason)


def _serving_model(services: Services, prediction: ModelPrediction) -> DesiredDeployment:
    model_name, version = prediction.model_name, prediction.version
    caller = identity.current()

    def read() -> DesiredDeployment:
        with services.database.session() as session:
            try:
                return deployments.resolve(session, model_name, version, among=caller.endpoint_names)
            except DeploymentNotFound as error:
                caller.check_model(model_name)
                what = f"Version {version} of model {model_name!r}" if version else f"Model {model_name!r}"
                raise EndpointNotDeployed(
                    f"{what} is not deployed. POST /deployments/deploy deploys it; GET /deployments lists what is.",
                    {"model_name": model_name, "version": version},
                ) from error

    return services.cache.get((model_name, version, caller.endpoint_names), read)


def _not_deployed(endpoint_name: str, found: DesiredDeployment | None) -> EndpointNotDeployed:
    extras: dict[str, Any] = {"endpoint_name": endpoint_name}
    if found is None:
        return EndpointNotDeployed(f"Nothing is deployed as {endpoint_name!r}. GET /deployments lists what is.", extras)
    extras["intent"] = found.intent.value
    return EndpointNotDeployed(f"Endpoint {endpoint_name!r} {_NOT_SERVING[found.intent]}.", extras)


def _submit(
    services: Services,
    deployment: DesiredDeployment,
    prediction: Prediction,
    wait_s: float | None,
    idempotency_key: str | None,
) -> Submitted:
    check_input(deployment, prediction)
    callbacks.check(prediction.callback_url)
    refuse_if_failed(deployment, idempotency_key)
    with services.holding(identity.current().name, wait_s) as held_s:
        if held_s:
            job = _ended(deployment, prediction, idempotency_key, held_s)
        else:
            job = _accepted(deployment, prediction, idempotency_key)
    if wait_s:
        _raise_unless_successful(job)
    return Submitted(job, deployment)


def _ended(
    deployment: DesiredDeployment, prediction: Prediction, idempotency_key: str | None, wait_s: float
) -> JobView:
    """Submit a job and wait for its end, with a watch that stands before there can be one."""
    waiter, job_id = waiting.default_waiter(), new_id()
    with waiter.watching(job_id) as watch:
        job = _accepted(deployment, prediction, idempotency_key, job_id)
        try:
            # Under an idempotency key it may be a job that was submitted before.
            found = watch.wait(wait_s) if job.job_id == job_id else waiter.wait(job.job_id, wait_s)
            return query.placed([found])[0]
        except QueueUnavailable:
            # The job is accepted: an error now would make the caller submit it again.
            return job


def _accepted(
    deployment: DesiredDeployment, prediction: Prediction, idempotency_key: str | None, job_id: str | None = None
) -> JobView:
    idempotency = None
    if idempotency_key is not None:
        # The endpoint is part of it: by the universal URL, a later deploy may lead the same body elsewhere.
        request = [deployment.endpoint_name, prediction.model_dump(exclude_unset=True)]
        idempotency = Idempotency(idempotency_key, json.dumps(request, sort_keys=True).encode())
    with room_for_jobs(deployment):
        job = query.submit(
            deployment.endpoint_name,
            prediction.rows,
            limits_of(deployment),
            idempotency,
            job_id,
            owner=identity.current().name,
            options=prediction.options,
        )
    logs.bind(job_id=job.job_id, endpoint_name=job.endpoint_name)
    return job


def limits_of(deployment: DesiredDeployment) -> Limits:
    """Return the limits of a job of this deployment."""
    settings = deployment.settings
    return Limits(settings.max_queue_length, settings.expires_in_s, settings.max_queue_bytes)


@contextmanager
def room_for_jobs(deployment: DesiredDeployment) -> Iterator[None]:
    """Turn a full queue into TooManyJobs, with the time after which there will be room."""
    try:
        yield
    except QueueFull as error:
        wait_s = room_in_s(deployment, error)
        extras = {"endpoint_name": deployment.endpoint_name, "full": error.full}
        raise TooManyJobs(str(error), extras, wait_s) from error


def room_in_s(deployment: DesiredDeployment, error: QueueFull, job_count: int = 1) -> int:
    """Return after how many seconds it is worth trying again to submit so many jobs."""
    # It is unknown how many bytes, or how many places of one client, a job frees when it ends.
    length = deployment.settings.max_queue_length if error.full == "max_queue_length" else job_count
    return status.room_in_s(deployment.endpoint_name, length, job_count)


def check_input(
    deployment: DesiredDeployment, prediction: Prediction, one: str = "input", many: str = "inputs"
) -> None:
    """Check the input(s) of a prediction, which are called `one` and `many`. Raises InputInvalid."""
    if prediction.inputs is None:
        deployment.signature.check(prediction.input, one)
        return
    for index, row in enumerate(prediction.inputs):
        deployment.signature.check(row, path=f"{many}[{index}]")


def _raise_unless_successful(job: JobView) -> None:
    if not job.state.terminal or job.state is JobState.SUCCEEDED:
        return
    extras = {"job_id": job.job_id, "job_status": job.state.value, "error": job.error}
    if job.state is JobState.FAILED:
        reason = (job.error or {}).get("message") or "The prediction failed."
        raise PredictionFailed(reason, extras)
    raise JobWithdrawn(f"Job {job.job_id} was {job.state.value} before it had an outcome.", extras)
