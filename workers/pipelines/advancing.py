"""Advances pipelines: submits the next step once the present one has succeeded, and ends the pipeline.

Any process may advance any pipeline at any time, also several at once: what they do to it is one conditional step each,
and a step that two of them submit is one job, as its id is known before. A full queue makes a step wait.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

import workers.errors
from registry import deployments
from registry.database import Database, default_database
from registry.deployments import DesiredDeployment, Intent
from workers.errors import (
    InputRejected,
    JobArgumentsWrong,
    JobFailed,
    JobNotCancellable,
    JobNotFound,
    JobUnreadable,
    QueueFull,
    StepEndpointUndeployed,
    StepLost,
    WorkerError,
)
from workers.jobs import accept, query, records
from workers.jobs.accept import Accepted, Limits
from workers.jobs.endings import successors
from workers.jobs.job import JobOptions
from workers.jobs.query import JobState, JobView
from workers.pipelines import store
from workers.pipelines.pipeline import SKIPPED, WAITING, Plan, rows_of, skipped, with_steps
from workers.platform import fast_json

#: When a step is looked at again whose end nobody has noted (see `endings.successors`): after a quarter of the time
#: that it has taken so far, within these; and one that waits for room in its queue.
_SOONEST_S, _LATEST_S = 2.0, 60.0
_SOONEST_FOR_ROOM_S, _LATEST_FOR_ROOM_S = 0.3, 10.0
#: An endpoint whose queue was full is not asked again for this time, however many pipelines wait for it.
_FULL_FOR_S = 0.5
#: A deployment is read again after this time.
_READ_FOR_S = 1.0
_TAKES_JOBS = (Intent.SERVE, Intent.PARK)
_NOTHING_DEPLOYED = "nothing that takes jobs is deployed there"


class Advance:
    """Advances pipelines; endpoints are looked up in the registry."""

    def __init__(self, database: Database | None = None) -> None:
        self._database = database
        self._full_until: dict[str, float] = {}
        self._deployments: dict[str, tuple[float, DesiredDeployment | None]] = {}

    def __call__(self, pipeline_id: str, ended: JobView | None = None) -> None:
        """Do all that can be done for a pipeline now; `ended` is a step of it, as it has ended.

        Raises:
            redis.RedisError, QueueUnavailable: Redis or the broker can't be reached.
            RegistryUnavailable: the registry can't be reached.
        """
        while (found := store.plan_of(pipeline_id)) is not None:
            job = store.view(pipeline_id)
            if job is None or job.state.terminal:
                cancel_step(found[0], stops_host=False)
                break
            if not self._advanced(*found, ended):
                return
        store.drop(pipeline_id)

    def _advanced(self, plan: Plan, stored: bytes, ended: JobView | None) -> bool:
        """Do the next thing; return whether there may be more to do at once."""
        job = _read(plan.step.job_id, ended)
        if job is None:
            return _lost(plan, stored, plan.present) if plan.is_submitted else self._submitted(plan, stored, ended)
        if job.state is JobState.SUCCEEDED:
            return _succeeded(plan, stored, job)
        if job.state.terminal:
            return _ended_with(plan, stored, job)
        if not plan.is_submitted or (job.state is JobState.RUNNING and not plan.is_running):
            is_running = plan.is_running or job.state is JobState.RUNNING
            now = plan.with_step(status=job.state.value, started_at=job.started_at)
            store.change(stored, replace(now, is_submitted=True, is_running=is_running, rows=None), _SOONEST_S)
            return False
        since = time.time() - (job.started_at or job.submitted_at or 0.0)
        store.look_again(plan.pipeline_id, min(_LATEST_S, max(_SOONEST_S, since / 4)))
        return False

    def _submitted(self, plan: Plan, stored: bytes, ended: JobView | None) -> bool:
        """Submit the present step, or end the pipeline if that can't be; nothing is left to do at once then."""
        if plan.expires_at is not None and plan.expires_at <= time.time():
            return _withdrawn(plan, stored, records.EXPIRED)
        deployment = self._deployment(plan.step.endpoint_name)
        if deployment is None or deployment.intent not in _TAKES_JOBS:
            return _ended(plan, stored, StepEndpointUndeployed(_about(plan, _NOTHING_DEPLOYED)))
        rows = _rows(plan, ended)
        if rows is None:
            return _lost(plan, stored, plan.present - 1)
        try:
            has_room = self._has_room(plan, rows, limits_of(deployment))
        except JobArgumentsWrong as error:
            return _ended(plan, stored, InputRejected(_about(plan, str(error))))
        if has_room:
            note_submitted(plan, stored)
            return False
        return _waits(plan, stored)

    def _has_room(self, plan: Plan, rows: Mapping[str, Any], limits: Limits) -> bool:
        """Submit the present step; False if its queue has no room. Raises JobArgumentsWrong."""
        if self._full_until.get(plan.step.endpoint_name, 0.0) > time.monotonic():
            return False
        try:
            submit_step(plan, rows, limits)
        except QueueFull:
            self._full_until[plan.step.endpoint_name] = time.monotonic() + _FULL_FOR_S
            return False
        return True

    def _deployment(self, endpoint_name: str) -> DesiredDeployment | None:
        """Return a deployment, as read lately: as in the API, an undeploy is seen a little later."""
        read_at, found = self._deployments.get(endpoint_name, (-math.inf, None))
        if time.monotonic() - read_at > _READ_FOR_S:
            with (self._database or default_database()).session() as session:
                found = deployments.find(session, endpoint_name)
            if found is not None and found.intent in _TAKES_JOBS:  # what isn't deployed may be at any moment
                self._deployments[endpoint_name] = time.monotonic(), found
        return found


def limits_of(deployment: DesiredDeployment) -> Limits:
    """Return the limits of a job of this deployment."""
    settings = deployment.settings
    return Limits(settings.max_queue_length, settings.expires_in_s, settings.max_queue_bytes)


def submit_step(plan: Plan, rows: Mapping[str, Any], limits: Limits) -> Accepted:
    """Submit the present step as a job; a step that was submitted before is that job.

    Raises:
        QueueFull, JobArgumentsWrong, JobUnconfirmed, QueueUnavailable: as for each submit.
    """
    args, kwargs = query.arguments_of(plan.step.endpoint_name, rows)
    # The expiry of the whole is that of each step; without one, each has its deployment's.
    expires_in_s = None if plan.expires_at is None else max(plan.expires_at - time.time(), 0.001)
    # As in Celery's chains: the root is the whole, the parent what came before.
    parent_id = plan.steps[plan.present - 1].job_id if plan.present else plan.pipeline_id
    return accept.submit(
        args,
        kwargs,
        limits=limits,
        owner=plan.owner,
        task_id=plan.step.job_id,
        options=JobOptions(expires_in_s, plan.priority, None, plan.sticky_key),
        successors=successors.encode(plan.step.job_id, successors.Plan(owner=plan.owner, pipeline_id=plan.pipeline_id)),
        root_id=plan.pipeline_id,
        parent_id=parent_id,
    )


def note_submitted(plan: Plan, stored: bytes) -> None:
    """Note that the present step was accepted. Raises redis.RedisError."""
    now = replace(plan.with_step(status=JobState.QUEUED.value), is_submitted=True, rows=None, waits_since=None)
    if store.change(stored, now, _SOONEST_S) is None:
        # Another process was faster, or the pipeline has ended meanwhile: was cancelled, or its endpoint undeployed.
        job = store.view(plan.pipeline_id)
        if job is None or job.state.terminal:
            cancel_step(plan, stops_host=False)


def cancel_step(plan: Plan, *, stops_host: bool) -> None:
    """Cancel the present step of a pipeline that has ended, if it is queued or runs. Raises QueueUnavailable."""
    with suppress(JobNotFound, JobUnreadable, JobNotCancellable):
        query.cancel(plan.step.job_id, force=True, stops_host=stops_host)


def _waits(plan: Plan, stored: bytes) -> bool:
    """Have a step wait for room in its queue."""
    now = time.time()
    if plan.waits_since is None:
        store.change(stored, replace(plan, waits_since=now), _SOONEST_FOR_ROOM_S)
    else:
        waited_s = now - plan.waits_since
        store.look_again(plan.pipeline_id, min(_LATEST_FOR_ROOM_S, max(_SOONEST_FOR_ROOM_S, waited_s / 4)))
    return False


def _read(job_id: str, ended: JobView | None) -> JobView | None:
    """Return a step's job: by its record or, if that has expired already, as its end was noted."""
    return store.view(job_id) or (ended if ended is not None and ended.job_id == job_id else None)


def _rows(plan: Plan, ended: JobView | None) -> dict[str, Any] | None:
    """Return the input of the present step: the pipeline's, or the prediction before it; None if it is gone."""
    if plan.rows is not None:
        return plan.rows
    before = _read(plan.steps[plan.present - 1].job_id, ended)
    return None if before is None or before.outcome is None else rows_of(before.outcome)


def _succeeded(plan: Plan, stored: bytes, job: JobView) -> bool:
    now = plan.with_step(status=job.state.value, started_at=job.started_at, finished_at=job.finished_at)
    if not plan.is_last:
        further = replace(now, present=plan.present + 1, is_submitted=False, is_running=True, rows=None)
        store.change(stored, further)
        return True
    outcome = fast_json.dumps_celery(job.outcome)
    ended_at = job.finished_at or time.time()
    record = records.succeeded(plan.job, outcome, now.started_at or ended_at, ended_at)
    store.end(plan.job, with_steps(record, now.steps), stored)
    return False


def _ended_with(plan: Plan, stored: bytes, job: JobView) -> bool:
    """End a pipeline as its step has ended, which has no outcome."""
    now = plan.with_step(status=job.state.value, started_at=job.started_at, finished_at=job.finished_at)
    error = job.error or {}
    if error.get("code") == workers.errors.EndpointUndeployed.code:
        return _ended(now, stored, StepEndpointUndeployed(_about(plan, str(error.get("message")))))
    if job.state is JobState.FAILED:
        return _ended(now, stored, _error_of(plan, error), traceback=job.traceback or "")
    return _withdrawn(now, stored, records.EXPIRED if job.state is JobState.EXPIRED else records.CANCELLED)


def _error_of(plan: Plan, error: Mapping[str, Any]) -> WorkerError:
    """Return the error of a step as that of its pipeline: with the same code, and which step it was."""
    kind = getattr(workers.errors, str(error.get("type")), JobFailed)
    message = _about(plan, str(error.get("message")))
    is_known = isinstance(kind, type) and issubclass(kind, JobFailed) and kind.__init__ is Exception.__init__
    return kind(message) if is_known else JobFailed(message)


def _lost(plan: Plan, stored: bytes, number: int) -> bool:
    step = plan.steps[number]
    which = f"step {number + 1} ({step.endpoint_name}, job {step.job_id})"
    return _ended(plan, stored, StepLost(f"The outcome of {which} is gone: its result_ttl_s was over."))


def _about(plan: Plan, what: str) -> str:
    return f"Step {plan.present + 1} of {len(plan.steps)} ({plan.step.endpoint_name}): {what}"


def _ended(plan: Plan, stored: bytes, error: WorkerError, traceback: str = "") -> bool:
    if plan.step.status == WAITING:
        plan = plan.with_step(status=SKIPPED)
    record = records.failed(plan.job, error, time.time(), started_at=plan.started_at, traceback=traceback)
    store.end(plan.job, with_steps(record, skipped(plan.steps)), stored)
    return False


def _withdrawn(plan: Plan, stored: bytes, reason: str) -> bool:
    store.end(plan.job, with_steps(records.revoked(plan.job, reason, time.time()), skipped(plan.steps)), stored)
    return False
