"""Follows the end of a job in a pipeline of ours: submits the next one, or ends those that can't follow any more."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from celery import states

from workers.errors import PreviousStepFailed
from workers.jobs import query, transitions
from workers.jobs.endings.successors import Plan
from workers.successors import submission

_log = logging.getLogger(__name__)


def follow(job_id: str, plan: Plan, record: bytes, ended: dict[str, Any]) -> None:
    """Submit the next job with the prediction of the one that has ended, or fail all that are left.

    Raises:
        QueueUnavailable: Redis or the broker can't be reached.
    """
    if ended["status"] != states.SUCCESS:
        _fail(job_id, plan, record)
        return
    step, *left = plan.steps
    said = {"expires": step.expires_in_s, "priority": step.priority, "callback_url": step.callback_url}
    options: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if step.sticky_key is not None:
        options["sticky_key"] = step.sticky_key
    if left:
        options[submission.STEPS] = [asdict(each) for each in left]
    submission.submit(step.job_id, [ended["result"]], {"endpoint_name": step.endpoint_name}, plan.owner, options)


def _fail(job_id: str, plan: Plan, record: bytes) -> None:
    job = query.shown(job_id, record)
    why = f": {job.error['message']}" if job.error and job.error.get("message") else "."
    error = PreviousStepFailed(
        f"Step {job.job_id} (endpoint {job.endpoint_name!r}), which comes before, is {job.state.value}{why}"
    )
    for step in plan.steps:
        if transitions.end_unborn(step.job_id, step.endpoint_name, plan.owner, error):
            fields = {"job_id": step.job_id, "endpoint_name": step.endpoint_name}
            _log.info("job %s ends: the step before it, %s, is %s", step.job_id, job_id, job.state, extra=fields)
