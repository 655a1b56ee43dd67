"""Accepts and cancels pipelines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import redis

from workers.errors import (
    IdempotencyConflict,
    JobArgumentsWrong,
    JobNotCancellable,
    JobUnconfirmed,
    QueueFull,
    QueueUnavailable,
)
from workers.jobs import query, records
from workers.jobs.accept import Idempotency, Limits, digest
from workers.jobs.endings import outbox
from workers.jobs.job import JobOptions
from workers.jobs.query import JobState, JobView
from workers.pipelines import advancing, store
from workers.pipelines.pipeline import Plan, Step, new_steps, skipped, with_steps
from workers.platform.ids import new_id
from workers.platform.redis.client import may_have_arrived, translated_errors
from workers.queues.priorities import Priority


class NewPipeline(NamedTuple):
    """A pipeline that is being submitted.

    Attributes:
        rows: `{"input": …}` or `{"inputs": […]}` for the first step that runs.
        before: the steps that have succeeded in another pipeline, of which this is the rest.
    """

    endpoint_names: Sequence[str]
    rows: Mapping[str, Any]
    options: JobOptions
    owner: str | None = None
    before: Sequence[Step] = ()
    idempotency: Idempotency | None = None


def submit(new: NewPipeline, limits: Limits, pipeline_id: str | None = None) -> JobView:
    """Store a pipeline and submit its first step; under an idempotency key that was used before, return that job.

    `limits` are those of the endpoint of the first step.

    Raises:
        JobArgumentsWrong: the input can't be said in JSON.
        TargetRefused: nothing can be told to the callback URL.
        QueueFull: the first endpoint has no room for another job; nothing was stored.
        IdempotencyConflict: the idempotency key was used for another request.
        JobUnconfirmed: Redis or the broker was lost on the way, or too few replicas have it; it may be stored.
        QueueUnavailable: Redis can't be reached; nothing was stored.
    """
    plan = _plan(new, pipeline_id or new_id())
    url, once = new.options.callback_url, new.idempotency
    callback = "" if url is None else outbox.callback(url)
    scope = "" if once is None else digest(once.key.encode())
    request = "" if once is None else once.request_digest or digest(once.request)
    with translated_errors():
        try:
            what, found_id = store.begin(plan, callback, scope, request)
            if what == "conflict":
                raise IdempotencyConflict(found_id)
            if what == "begun":
                _submit_first(plan, new.rows, limits, scope)
        except redis.RedisError as error:
            if may_have_arrived(error):
                raise JobUnconfirmed(plan.pipeline_id) from error
            raise
        return query.get(found_id)


def cancel(job_id: str, *, force: bool = False, owner: str | None = None) -> JobView:
    """Cancel a job; a pipeline also while it runs: its present step is cancelled, and no later one begins.

    With `force`, an operator also stops the host that runs the present step, as for other jobs.

    Raises:
        JobNotFound, JobUnreadable, JobNotCancellable, QueueUnavailable: as `query.cancel`.
    """
    job = query.get(job_id, owner)
    if not job.steps:
        return query.cancel(job_id, force=force, owner=owner)
    with translated_errors():
        found = store.plan_of(job_id)
        if job.state.terminal or found is None:
            raise JobNotCancellable(job_id, job.state.value)
        plan, _ = found
        now = plan.with_step(status=JobState.CANCELLED.value) if plan.is_submitted else plan
        record = with_steps(records.revoked(plan.job, records.CANCELLED, time.time()), skipped(now.steps))
        if not store.end(plan.job, record, runs_on=True):
            raise JobNotCancellable(job_id, query.get(job_id).state.value)
        # The next step may just have begun; whoever advances the pipeline cancels it then.
        advancing.cancel_step(plan, stops_host=force and owner is None)
        return query.parse(job_id, record)


def _plan(new: NewPipeline, pipeline_id: str) -> Plan:
    now, expires_in_s = time.time(), new.options.expires_in_s
    return Plan(
        pipeline_id,
        now,
        new_steps(pipeline_id, new.endpoint_names, new.before),
        present=len(new.before),
        rows=dict(new.rows),
        expires_at=None if expires_in_s is None else now + expires_in_s,
        owner=new.owner,
        priority=new.options.priority or Priority.NORMAL,
        sticky_key=new.options.sticky_key,
    )


def _submit_first(plan: Plan, rows: Mapping[str, Any], limits: Limits, scope: str) -> None:
    """Submit the first step; take the pipeline back if it is refused."""
    try:
        advancing.submit_step(plan, rows, limits)
    except (QueueFull, JobArgumentsWrong):
        if store.forget(plan, scope):
            raise
        return
    except JobUnconfirmed as error:
        raise JobUnconfirmed(plan.pipeline_id) from error
    except (QueueUnavailable, redis.RedisError) as error:
        # The pipeline is stored: whoever finds it submits its first step.
        raise JobUnconfirmed(plan.pipeline_id) from error
    advancing.note_submitted(plan, plan.stored())
