"""Submits many predictions to one endpoint in one call: all are checked before any is stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from api.auth.identity import Identity
from api.http.ndjson import Element
from api.http.reading import validated
from api.predictions import callbacks
from api.predictions.schemas import Prediction
from api.predictions.service import check_input, limits_of, refuse_if_failed, serving_endpoint, too_many_jobs
from api.process.services import Services
from registry.deployments import DesiredDeployment
from workers.errors import BulkTooLarge, QueueFull, QueueUnavailable
from workers.jobs import bulk
from workers.jobs.accept import Idempotency
from workers.jobs.query import JobState, JobView, with_positions


@dataclass(frozen=True)
class SubmittedMany:
    """The jobs that were accepted, in the order of the request, and the deployment that they were accepted for."""

    job_ids: list[str]
    deployment: DesiredDeployment
    #: The last of them, as far as it is known.
    last: JobView


@dataclass(frozen=True)
class Many:
    """The predictions of one call."""

    endpoint_name: str
    elements: Sequence[Element]
    idempotency_key: str | None


def submit_many(services: Services, caller: Identity, many: Many) -> SubmittedMany:
    """Submit one job for each element, which is what the body of a single submit is.

    Raises:
        EndpointNotDeployed: there is no such endpoint, or it takes no new jobs.
        EndpointFailed: its first deploy failed, so that nothing would run them.
        RequestInvalid, InputInvalid: an element is wrong; names it and the place.
        WebhooksNotSetUp, CallbackRefused: no webhook can be sent to the callback URL of one.
        BulkTooLarge: there are more than a call may have.
        TooManyJobs: the queue has no room for all of them; tells when to come back.
        IdempotencyConflict: the idempotency key was used for another request.
        QueueUnavailable: nothing could be stored.
        BulkInterrupted: a part of them is stored; tells which.
    """
    endpoint_name, elements, idempotency_key = many.endpoint_name, many.elements, many.idempotency_key
    deployment = serving_endpoint(services, caller, endpoint_name)
    refuse_if_failed(deployment, idempotency_key)
    if len(elements) > bulk.MAX_JOBS:
        raise BulkTooLarge(len(elements), bulk.MAX_JOBS)
    wanted = [_job(deployment, each) for each in elements]
    idempotency = None
    if idempotency_key is not None:
        request = [endpoint_name, [each.document for each in elements]]
        idempotency = Idempotency(idempotency_key, json.dumps(request, sort_keys=True).encode())
    try:
        ids = bulk.submit(
            endpoint_name,
            wanted,
            limits=limits_of(deployment),
            idempotency=idempotency,
            owner=caller.name,
        )
    except QueueFull as error:
        raise too_many_jobs(deployment, error, len(wanted)) from error
    return SubmittedMany(ids, deployment, _last(endpoint_name, ids))


def _last(endpoint_name: str, job_ids: Sequence[str]) -> JobView:
    """Return the last of the jobs that were just stored, with its queue position if Redis can be reached."""
    last = JobView(job_ids[-1], endpoint_name, None, state=JobState.QUEUED)
    try:
        return with_positions([last])[0]
    except QueueUnavailable:
        return last


def _job(deployment: DesiredDeployment, element: Element) -> bulk.NewJob:
    document = element.document
    # Nearly all elements have an input alone: they need no schema.
    if type(document) is dict and len(document) == 1 and "input" in document:
        deployment.signature.check(document["input"], element.field("input"))
        return bulk.NewJob(document)
    prediction = validated(Prediction, document, prefix=element.field(""))
    check_input(deployment, prediction, element.field("input"), element.field("inputs"))
    callbacks.check(prediction.callback_url, element.field("callback_url"))
    return bulk.NewJob(prediction.rows, prediction.options)
