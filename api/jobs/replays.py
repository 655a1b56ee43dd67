"""Sends the inputs of failed jobs again, as new jobs: those of dead letters, and those that deployments keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from api.auth.identity import Identity
from api.jobs import pipelines
from api.jobs.schemas import Retry
from api.predictions import service as prediction_service
from api.predictions.schemas import Prediction
from api.predictions.service import Submitted
from api.process.services import Services
from registry.deployments import DesiredDeployment
from workers.errors import InputNotKept, JobNotFailed, JobNotFound, QueueFull
from workers.jobs import dead_letters, query
from workers.jobs.accept import Idempotency
from workers.jobs.dead_letters import DeadLetter
from workers.jobs.job import JobFacts, JobOptions
from workers.jobs.query import JobState, JobView


def replay(services: Services, caller: Identity, job_id: str, endpoint_name: str | None) -> Submitted:
    """Submit a dead letter's input as a new job, to its endpoint or to another one, and discard the letter.

    Raises:
        DeadLetterNotFound: there is none for this job.
        JobArgumentsWrong: its message can't be read.
        EndpointNotDeployed, EndpointFailed, InputInvalid, TooManyJobs, QueueUnavailable: as for
            single submits; the letter is still there.
    """
    letter = dead_letters.get(job_id)
    deployment = _target(services, caller, endpoint_name or letter.endpoint_name, letter.rows())
    try:
        job = dead_letters.replay(job_id, deployment.endpoint_name, prediction_service.limits_of(deployment))
    except QueueFull as error:
        raise prediction_service.too_many_jobs(deployment, error) from error
    return Submitted(job, deployment)


def retry(services: Services, caller: Identity, job_id: str, wanted: Retry, key: str | None = None) -> Submitted:
    """Submit the input of a failed job, or an edited one, as a new job of the same owner and priority.

    What is kept of the failed job stays, also if it is a dead letter: it may be run again any number of times. A
    pipeline goes on from the step that has failed.

    Raises:
        JobNotFound, JobUnreadable: there is no such job that the caller may see.
        JobNotFailed: it has not failed.
        InputNotKept: no input is given, and that of the job is not kept.
        EndpointNotDeployed, EndpointForbidden, EndpointFailed, InputInvalid, TooManyJobs, QueueUnavailable,
            IdempotencyConflict: as for single submits.
    """
    letter = dead_letters.find(job_id)
    facts = _failed(job_id, caller.sees_jobs_of, letter)
    if isinstance(facts, JobView) and facts.steps:
        return pipelines.retry(services, caller, facts, wanted, key)
    rows = wanted.rows or _kept(job_id, letter)
    deployment = _target(services, caller, wanted.endpoint_name or facts.endpoint_name, rows)
    request = json.dumps(["retry", job_id, deployment.endpoint_name, rows], sort_keys=True).encode()
    once = None if key is None else Idempotency(key, request)
    limits, options = prediction_service.limits_of(deployment), JobOptions(priority=facts.priority)
    try:
        job = query.submit(deployment.endpoint_name, rows, limits, once, owner=facts.owner, options=options)
    except QueueFull as error:
        raise prediction_service.too_many_jobs(deployment, error) from error
    return Submitted(job, deployment)


def kept_input(job_id: str, owner: str | None) -> dict[str, Any]:
    """Return the input that is kept of a failed job, with an `owner` only of theirs: `{"input": …}` or `{"inputs": …}`.

    Raises:
        JobNotFound, JobUnreadable: there is no such job that the owner may see.
        JobNotFailed: it has not failed.
        InputNotKept: it is not kept.
    """
    letter = dead_letters.find(job_id)
    facts = _failed(job_id, owner, letter)
    if isinstance(facts, JobView) and facts.steps:
        return pipelines.kept_input(facts)
    return _kept(job_id, letter)


def find_kept_input(job: JobView) -> dict[str, Any] | None:
    """Return the input that is kept of a job that the caller may see; None if there is none."""
    with suppress(InputNotKept):
        if job.steps and job.state is JobState.FAILED:
            return pipelines.kept_input(job)
        return _kept(job.job_id, dead_letters.find(job.job_id)) if job.state is JobState.FAILED else None
    return None


def _failed(job_id: str, owner: str | None, letter: DeadLetter | None) -> JobFacts | DeadLetter:
    """Return what is known of a failed job: its record's, or its dead letter's, which lives longer."""
    try:
        job = query.get(job_id, owner)
    except JobNotFound:
        if letter is None or owner not in (None, letter.owner):
            raise
        return letter
    if job.state is not JobState.FAILED:
        raise JobNotFailed(job_id, job.state.value)
    return job


def _kept(job_id: str, letter: DeadLetter | None) -> dict[str, Any]:
    if letter is None or not (rows := letter.rows()):
        raise InputNotKept(job_id)
    return rows


def _target(services: Services, caller: Identity, endpoint_name: str, rows: Mapping[str, Any]) -> DesiredDeployment:
    """Return the deployment that takes the input as a new job, after the checks of a submit."""
    deployment = prediction_service.serving_endpoint(services, caller, endpoint_name)
    prediction_service.refuse_if_failed(deployment)
    if rows:
        prediction_service.check_input(deployment, Prediction(**rows))
    return deployment
