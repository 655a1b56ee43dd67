"""Submitting many predictions to one endpoint in one call: all are checked before any is stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from api import callbacks, identity
from api.elements import Element
from api.errors import TooManyJobs
from api.requests import validated
from api.schemas import Prediction
from api.services import Services
from api.submitting import check_input, limits_of, serving_endpoint
from registry.deployments import DesiredDeployment
from workers import bulk, status
from workers.errors import BulkTooLarge, QueueFull, QueueUnavailable
from workers.jobs import Job, JobState, placed
from workers.submission import Idempotency


@dataclass(frozen=True)
class SubmittedMany:
    """The jobs that were accepted, in the order of the request, and the deployment that they were accepted for."""

    job_ids: list[str]
    deployment: DesiredDeployment
    #: The last of them, as far as it is known.
    last: Job


def submit_many(
    services: Services, endpoint_name: str, elements: Sequence[Element], idempotency_key: str | None
) -> SubmittedMany:
    """Submit one job for each element, which is what the body of a single submit is.

    Raises:
        EndpointNotDeployed: there is no such endpoint, or it takes no new jobs.
        RequestInvalid, InputInvalid: an element is wrong; names it and the place.
        WebhooksNotSetUp, CallbackRefused: the end of one can't be told where it is wanted.
        BulkTooLarge: there are more than one call may have.
        TooManyJobs: the queue has no room for all of them; tells when to come back.
        IdempotencyConflict: the idempotency key was used for another request.
        QueueUnavailable: nothing could be stored.
        BulkInterrupted: a part of them is stored; tells which.
    """
    deployment = serving_endpoint(services, endpoint_name)
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
            owner=identity.current().name,
        )
    except QueueFull as error:
        wait_s = status.room_in_s(endpoint_name, deployment.settings.max_queue_length, len(wanted))
        raise TooManyJobs(str(error), {"endpoint_name": endpoint_name}, wait_s) from error
    return SubmittedMany(ids, deployment, _last(endpoint_name, ids))


def _last(endpoint_name: str, job_ids: Sequence[str]) -> Job:
    """Where the last of the jobs that have just been stored is; they are stored, whatever becomes of this look."""
    last = Job(job_ids[-1], endpoint_name, JobState.QUEUED)
    try:
        return placed([last])[0]
    except QueueUnavailable:
        return last


def _job(deployment: DesiredDeployment, element: Element) -> bulk.Job:
    document = element.document
    # What nearly all of many are needs no model to be understood.
    if type(document) is dict and len(document) == 1 and "input" in document:
        deployment.signature.check(document["input"], element.field("input"))
        return bulk.Job(document)
    prediction = validated(Prediction, document, prefix=element.field(""))
    check_input(deployment, prediction, element.field("input"), element.field("inputs"))
    callbacks.check(prediction.callback_url, element.field("callback_url"))
    return bulk.Job(prediction.rows, prediction.expires_in_s, prediction.priority, prediction.callback_url)
