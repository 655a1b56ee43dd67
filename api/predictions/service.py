"""Submits predictions: finds the deployment, checks the input, sends the job, and waits for it if asked.

Submits to an endpoint and to a model differ in the first step alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from api.auth.identity import Identity
from api.errors import EndpointFailed, EndpointNotDeployed, JobWithdrawn, PredictionFailed, TooManyJobs
from api.predictions import bodies, callbacks
from api.predictions.schemas import Prediction
from api.process.services import Services
from registry import deployments
from registry.deployments import DesiredDeployment, Intent
from registry.errors import DeploymentNotFound
from workers.deployments import snapshots, status
from workers.errors import QueueFull, QueueUnavailable
from workers.jobs import accept
from workers.jobs.accept import Idempotency, Limits
from workers.jobs.query import JobState, JobView
from workers.measures import paces
from workers.pipelines import submitting
from workers.pipelines.submitting import NewPipeline
from workers.platform import logs
from workers.platform.ids import new_id

_Body = TypeVar("_Body", bound=Prediction)

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


@dataclass(slots=True)
class Submit:
    """A prediction whose input fits, for a deployment that takes jobs."""

    deployment: DesiredDeployment
    #: None once the job is accepted: its input need not be in memory while it is waited for.
    prediction: Prediction | None
    #: The owner of the job; None for a job without.
    owner: str | None
    idempotency: Idempotency | None = None
    #: How long to wait for the job's end; None if the caller didn't ask.
    wait_s: float | None = None
    #: What its message costs to make, in bytes of JSON that are written for it.
    size_bytes: int = 0
    #: The deployments of a pipeline's further steps.
    then: Sequence[DesiredDeployment] = ()


def checked(deployment: DesiredDeployment, prediction: _Body) -> _Body:
    """Check what a client submits to a deployment; return it, parsed if that was needed.

    Raises:
        JsonInvalid: the input is not JSON, which was not known before.
        InputInvalid: the input doesn't fit the model's signature; names the place.
        WebhooksNotSetUp, CallbackRefused: no webhook can be sent to its callback URL.
    """
    if prediction.json_rows is None or not prediction.json_rows.fit(deployment.signature):
        prediction = bodies.parsed(prediction)
        check_input(deployment, prediction)
    callbacks.check(prediction.callback_url)
    return prediction


def idempotent(deployment: DesiredDeployment, prediction: Prediction, key: str | None) -> Idempotency | None:
    """Return what makes a prediction under a key the same as another one; None without a key."""
    if key is None:
        return None
    # The endpoint is part of it: by the universal URL, a later deploy may lead the same body elsewhere.
    content = bodies.parsed(prediction).model_dump(exclude_unset=True)
    request = json.dumps([deployment.endpoint_name, content], sort_keys=True)
    return Idempotency(key, b"", accept.digest(request.encode()))


def serving_endpoint(services: Services, caller: Identity, endpoint_name: str) -> DesiredDeployment:
    """Return the deployment that takes jobs under this name. Raises EndpointNotDeployed, EndpointForbidden."""
    caller.check_endpoint(endpoint_name)

    def read() -> DesiredDeployment:
        with services.database.session() as session:
            found = deployments.find(session, endpoint_name)
            if found is None or found.intent is not Intent.SERVE:
                raise _not_deployed(endpoint_name, found)
            return found

    return services.cache.get(endpoint_name, read, lambda: snapshots.read(endpoint_name))


def serving_endpoints(services: Services, caller: Identity, endpoint_names: Sequence[str]) -> list[DesiredDeployment]:
    """Return the deployments of a pipeline's further steps. Raises EndpointNotDeployed, EndpointForbidden."""
    return [serving_endpoint(services, caller, name) for name in endpoint_names]


def show_endpoint(services: Services, caller: Identity, endpoint_name: str) -> dict[str, Any]:
    """Return what an endpoint takes. Raises EndpointNotDeployed, EndpointForbidden."""
    found = serving_endpoint(services, caller, endpoint_name)
    return {
        "endpoint_name": found.endpoint_name,
        "model_name": found.model_name,
        "version": found.version,
        "signature": found.signature.document(),
        "input_schema": found.signature.json_schema(),
        "input_example": found.input_example,
    }


def refuse_if_failed(deployment: DesiredDeployment, idempotency_key: str | None = None) -> None:
    """Raise EndpointFailed if no worker could load the deployment and nothing served before it.

    A job that was accepted under the same idempotency key is found as always.
    """
    reason = status.first_load_failure(deployment)
    if reason is not None and not (idempotency_key is not None and accept.is_used(idempotency_key)):
        raise EndpointFailed(deployment.endpoint_name, reason)


def serving_model(services: Services, caller: Identity, model_name: str, version: str | None) -> DesiredDeployment:
    """Return the deployment of a model that takes jobs: the version's, by default that of the latest deployed one.

    Raises:
        EndpointNotDeployed: no deployment of the model (and version) takes jobs.
        EndpointForbidden: none that the caller may use.
    """

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


async def submit(services: Services, wanted: Submit) -> Submitted:
    """Submit a checked prediction; under an idempotency key that was used before, return that job.

    Raises:
        EndpointFailed: the endpoint's first deploy failed, so that nothing would run the job.
        TooManyJobs: the endpoint's queue is full; tells when to come back.
        IdempotencyConflict: the idempotency key was used for another request.
        QueueUnavailable: the job could not be stored.
        JobUnsuccessful: it was waited for, and ended without an outcome.
    """
    jobs, deployment = services.jobs, wanted.deployment
    if paces.default_paces().is_due(deployment.endpoint_name) and await jobs.desk.fresh_paces.read(
        deployment.endpoint_name
    ):
        # The submit would wait for Redis a second time.
        paces.default_paces().check_reachable()
    key = None if wanted.idempotency is None else wanted.idempotency.key
    await jobs.here_or_in_thread(refuse_if_failed, deployment, key)
    for each in wanted.then:
        await jobs.here_or_in_thread(refuse_if_failed, each, key)
    with services.holding(wanted.owner, wanted.wait_s) as held_s:
        job = await (_ended(services, wanted, held_s) if held_s else _accepted(services, wanted))
    if wanted.wait_s:
        _raise_unless_successful(job)
    return Submitted(job, deployment)


async def _ended(services: Services, wanted: Submit, wait_s: float) -> JobView:
    """Submit a job and wait for its end, with a watch that stands before there can be one."""
    desk, job_id = services.jobs.desk, new_id()
    with desk.waits.watching(job_id) as watch:
        job = await _accepted(services, wanted, job_id)
        try:
            # Under an idempotency key it may be a job that was submitted before.
            is_new = job.job_id == job_id
            found = await (watch.wait(wait_s) if is_new else desk.waits.wait(job.job_id, wait_s))
            [positioned] = await desk.reads.with_positions([found])
        except QueueUnavailable:
            # The job is accepted: an error now would make the caller submit it again.
            return job
        return positioned


async def _accepted(services: Services, wanted: Submit, job_id: str | None = None) -> JobView:
    deployment, prediction = wanted.deployment, wanted.prediction
    assert prediction is not None  # noqa: S101 - narrows the type
    try:
        job = await _stored(services, wanted, prediction, job_id)
    except QueueFull as error:
        raise too_many_jobs(deployment, error) from error
    wanted.prediction = None
    logs.bind(job_id=job.job_id, endpoint_name=job.endpoint_name)
    return job


async def _stored(services: Services, wanted: Submit, prediction: Prediction, job_id: str | None) -> JobView:
    if wanted.then:
        return await _pipeline(services, wanted, prediction, job_id)
    return await services.jobs.desk.submit(
        wanted.deployment.endpoint_name,
        prediction.rows,
        limits_of(wanted.deployment),
        wanted.idempotency,
        wanted.owner,
        prediction.options,
        job_id,
        size_bytes=wanted.size_bytes,
    )


async def _pipeline(services: Services, wanted: Submit, prediction: Prediction, job_id: str | None) -> JobView:
    """Submit a pipeline, which takes several steps in Redis, in a thread."""
    names = [wanted.deployment.endpoint_name, *(each.endpoint_name for each in wanted.then)]
    rows = bodies.parsed(prediction).rows
    new = NewPipeline(names, rows, prediction.options, wanted.owner, idempotency=wanted.idempotency)
    return await services.jobs.in_thread(submitting.submit, new, limits_of(wanted.deployment), job_id)


def limits_of(deployment: DesiredDeployment) -> Limits:
    """Return the limits of a job of this deployment."""
    settings = deployment.settings
    return Limits(settings.max_queue_length, settings.expires_in_s, settings.max_queue_bytes)


def too_many_jobs(deployment: DesiredDeployment, error: QueueFull, job_count: int = 1) -> TooManyJobs:
    """Return the error for a full queue, with the time after which it is worth trying again."""
    # It is unknown how many bytes, or how many places of one client, a job frees when it ends.
    length = deployment.settings.max_queue_length if error.full == "max_queue_length" else job_count
    wait_s = status.room_in_s(deployment.endpoint_name, length, job_count)
    return TooManyJobs(str(error), {"endpoint_name": deployment.endpoint_name, "full": error.full}, wait_s)


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
    reason = (job.error or {}).get("message") or ""
    raise JobWithdrawn(f"Job {job.job_id} was {job.state.value} before it had an outcome. {reason}".rstrip(), extras)
