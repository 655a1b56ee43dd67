"""The plans and the records of pipelines in Redis, each change of both in one step."""

from __future__ import annotations

import logging
import time
from typing import Any, cast

from workers import keys
from workers.errors import JobFailed
from workers.jobs import query, records, replication, transitions
from workers.jobs.endings.successors import PlanUnreadable
from workers.jobs.job import JobFacts
from workers.jobs.query import JobView
from workers.pipelines.pipeline import Plan, read_plan, skipped, steps_of, with_steps
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client
from workers.settings import load

_log = logging.getLogger(__name__)

#: Pipelines that one look takes, and for how long they are left to the process that has taken them.
_TAKEN_AT_ONCE = 50
_TAKEN_FOR_S = 10

_Value = bytes | str | float
_BEGIN = Lua("workers.pipelines", "begin")
_CHANGE = Lua("workers.pipelines", "change")
_END = Lua("workers.pipelines", "end")
_FORGET = Lua("workers.pipelines", "forget")
_LOOK_AGAIN = Lua("workers.pipelines", "look_again")
_TAKE_DUE = Lua("workers.pipelines", "take_due")


def begin(plan: Plan, callback: str, idempotency_key: str, digest: str) -> tuple[str, str]:
    """Store a new pipeline, unless one stands under its idempotency key ("" for none).

    Returns "begun", "repeated" or "conflict", and the id of the pipeline that stands there.

    Raises:
        NotReplicated: it stands there, and too few replicas have it.
        redis.RedisError: Redis can't be reached.
    """
    names = [
        keys.record(plan.pipeline_id),
        keys.pipeline(plan.pipeline_id),
        keys.PIPELINES_DUE,
        keys.recent(plan.steps[0].endpoint_name),
        keys.ENDPOINTS,
        keys.CALLBACKS,
        "" if plan.owner is None else keys.jobs_of(plan.owner),
        keys.idempotency(idempotency_key) if idempotency_key else "",
    ]
    values, waiting = _begin_values(plan, callback, digest), replication.wait_command()
    if waiting is None:
        what, pipeline_id = script(records_client(), _BEGIN)(names, values)
    else:
        what, pipeline_id = replication.run(records_client(), _BEGIN, (names, values), waiting)
    return what.decode(), pipeline_id.decode()


def _begin_values(plan: Plan, callback: str, digest: str) -> list[_Value]:
    settings = load()
    return [
        plan.pipeline_id,
        plan.record(),
        plan.stored(),
        settings.unfinished_ttl_s,
        plan.submitted_at,
        _TAKEN_FOR_S,
        settings.recent_jobs,
        plan.steps[0].endpoint_name,
        callback,
        digest,
        settings.result_ttl_s,
        int(settings.redis_replicas > 0),
    ]


def plan_of(pipeline_id: str) -> tuple[Plan, bytes] | None:
    """Return the plan of a pipeline, and how it is stored; None without one.

    A pipeline with a plan that can't be read fails: it can't go on, and nobody would wait for its end in vain.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    stored = cast("bytes | None", records_client().get(keys.pipeline(pipeline_id)))
    if stored is None:
        return None
    try:
        return read_plan(pipeline_id, stored), stored
    except PlanUnreadable as error:
        _log.error("pipeline %s fails, as its plan can't be read: %s", pipeline_id, error)
        _fail(pipeline_id, stored, JobFailed(f"The plan of the pipeline can't be read: {error}."))
        return None


def _fail(pipeline_id: str, stored: bytes, error: JobFailed) -> None:
    job = view(pipeline_id)
    if job is not None and not job.state.terminal:
        record = records.failed(job, error, time.time(), started_at=job.started_at)
        end(job, with_steps(record, skipped(steps_of(job.steps))), stored)


def view(pipeline_id: str) -> JobView | None:
    """Return the pipeline's record as a job; None without one. Raises redis.RedisError."""
    return query.parse_if_readable(pipeline_id, transitions.read_one(pipeline_id))


def change(before: bytes, plan: Plan, look_in_s: float = 0.0) -> bytes | None:
    """Replace a plan, and the record beside it; return how it is stored. The pipeline is due in `look_in_s`.

    None if another process has changed it, or the pipeline has ended: nothing is changed then. Raises redis.RedisError.
    """
    stored = plan.stored()
    names = [keys.record(plan.pipeline_id), keys.pipeline(plan.pipeline_id), keys.PIPELINES_DUE]
    values: list[_Value] = [plan.pipeline_id, before, stored, plan.record(), load().unfinished_ttl_s, look_in_s]
    return stored if script(records_client(), _CHANGE)(names, values) else None


def end(job: JobFacts, record: bytes, before: bytes = b"", *, runs_on: bool = False) -> bool:
    """Write the terminal record of a pipeline, unless there is one; return whether this did.

    With `before`, only if its plan is still stored so: what was seen of it may be out of date.

    With `runs_on` a step may still run, which whoever looks at the pipeline next has to cancel.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    names = [keys.record(job.job_id), keys.pipeline(job.job_id), keys.PIPELINES_DUE]
    values: list[_Value] = [job.job_id, record, load().result_ttl_s, job.endpoint_name, job.owner or ""]
    values += [int(runs_on), before]
    return bool(script(records_client(), _END)(names, values))


def forget(plan: Plan, idempotency_key: str) -> bool:
    """Take back a pipeline whose first step was refused; False if another process has submitted that meanwhile.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    names = [
        keys.record(plan.pipeline_id),
        keys.pipeline(plan.pipeline_id),
        keys.PIPELINES_DUE,
        keys.recent(plan.steps[0].endpoint_name),
        keys.CALLBACKS,
        "" if plan.owner is None else keys.jobs_of(plan.owner),
        keys.idempotency(idempotency_key) if idempotency_key else "",
        keys.record(plan.step.job_id),
    ]
    return bool(script(records_client(), _FORGET)(names, [plan.pipeline_id]))


def drop(pipeline_id: str) -> None:
    """Forget the plan of a pipeline that has ended. Raises redis.RedisError."""
    with records_client().pipeline(transaction=False) as both:
        both.delete(keys.pipeline(pipeline_id))
        both.zrem(keys.PIPELINES_DUE, pipeline_id)
        both.execute()


def look_again(pipeline_id: str, in_s: float) -> None:
    """Have an unfinished pipeline looked at after this time, and kept until then. Raises redis.RedisError."""
    names = [keys.record(pipeline_id), keys.pipeline(pipeline_id), keys.PIPELINES_DUE]
    script(records_client(), _LOOK_AGAIN)(names, [pipeline_id, load().unfinished_ttl_s, in_s])


def take_due() -> list[str]:
    """Take the pipelines that are due; others leave them alone for a while. Raises redis.RedisError."""
    found: Any = script(records_client(), _TAKE_DUE)([keys.PIPELINES_DUE], [_TAKEN_AT_ONCE, _TAKEN_FOR_S])
    return [each.decode() for each in found]


def are_any() -> bool:
    """Tell whether there are unfinished pipelines. Raises redis.RedisError."""
    return bool(records_client().exists(keys.PIPELINES_DUE))
