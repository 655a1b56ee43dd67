"""Remote control: the engine's part of Celery's inspect and control commands, which Flower uses too."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery.worker.control import Panel
from redis import RedisError

from workers.engine.engine import Engine
from workers.engine.intake.messages import QueuedJob
from workers.jobs import records
from workers.queues import delayed
from workers.queues.naming import TASK_NAME, endpoint_of, queue_name

_log = logging.getLogger(__name__)

#: The number of delayed jobs that are listed for each endpoint.
_MOST_SCHEDULED = 100


def of(engine: Engine) -> None:
    """Add this engine to Celery's commands."""
    for name, engine_command in _INSPECT_COMMANDS.items():
        Panel.data[name] = _joined(Panel.data[name], engine_command, engine)
    for name, remedy in _REFUSED_COMMANDS.items():
        Panel.data[name] = _refusing(Panel.data[name], remedy)
    Panel.data["add_consumer"] = _of_queue(Panel.data["add_consumer"], engine, _added)
    Panel.data["cancel_consumer"] = _of_queue(Panel.data["cancel_consumer"], engine, _cancelled)
    Panel.data["revoke"] = revoke = _revoking(Panel.data["revoke"], engine)
    Panel.data["terminate"] = _terminating(revoke)


def _joined(celery_command: Any, engine_command: Any, engine: Engine) -> Any:
    def answer(state: Any, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        return [*(celery_command(state, *args, **kwargs) or []), *engine_command(engine)]

    return answer


def _refusing(celery_command: Any, remedy: str) -> Any:
    """Wrap a command to return an error for `predict`, which only deployments control."""

    def refuse(state: Any, *args: Any, **kwargs: Any) -> Any:
        if (kwargs.get("task_name") or next(iter(args), None)) == TASK_NAME:
            return {"error": f"not supported, nothing was changed: {remedy}"}
        return celery_command(state, *args, **kwargs)

    return refuse


def _of_queue(celery_command: Any, engine: Engine, answer: Callable[[Engine, str, str], dict[str, str]]) -> Any:
    """Wrap a command about a queue: prediction queues have an answer of the engine, all others are Celery's."""

    def answered(state: Any, *args: Any, **kwargs: Any) -> Any:
        queue = kwargs.get("queue") or next(iter(args), None)
        if isinstance(queue, str) and queue.startswith(queue_name("")):
            return answer(engine, queue, endpoint_of(queue))
        return celery_command(state, *args, **kwargs)

    return answered


def _added(engine: Engine, queue: str, endpoint_name: str) -> dict[str, str]:
    endpoint = engine.endpoints.get(endpoint_name)
    if endpoint is None:
        return {
            "error": "nothing was changed: workers consume this queue once its endpoint is deployed in their group: "
            f"queuecast deploy MODEL --endpoint {endpoint_name}"
        }
    if not endpoint.is_placed:
        return {
            "error": "nothing was changed: other workers of the group consume this queue, as the endpoint needs no "
            f"more hosts: queuecast configure {endpoint_name} --hosts MIN-MAX"
        }
    return {"ok": f"already consuming from {queue}"}


def _cancelled(engine: Engine, queue: str, endpoint_name: str) -> dict[str, str]:
    endpoint = engine.endpoints.get(endpoint_name)
    if endpoint is None or not endpoint.is_placed:
        return {"ok": f"not consuming from {queue}"}
    return {
        "error": "nothing was changed: workers consume this queue as long as its endpoint is deployed in their group. "
        f"To stop them and keep the queued jobs: queuecast undeploy {endpoint_name} --backlog park"
    }


def _revoking(celery_command: Any, engine: Engine) -> Any:
    def revoke(state: Any, task_id: Any, *args: Any, terminate: bool = False, **kwargs: Any) -> Any:
        engine.revoke([task_id] if isinstance(task_id, str) else list(task_id), force=terminate)
        return celery_command(state, task_id, *args, terminate=terminate, **kwargs)

    return revoke


def _terminating(revoke: Any) -> Any:
    def terminate(state: Any, signal: Any, task_id: Any, **_: Any) -> Any:
        return revoke(state, task_id, terminate=True, signal=signal)

    return terminate


def _queues(engine: Engine) -> list[dict[str, Any]]:
    return [
        {"name": queue_name(name), "routing_key": queue_name(name), "exchange": {"name": "", "type": "direct"}}
        for name, endpoint in list(engine.endpoints.items())
        if endpoint.is_placed
    ]


def _scheduled(engine: Engine) -> list[dict[str, Any]]:
    """Return the delayed jobs that are due next; each worker of an endpoint lists them, as they belong to none."""
    try:
        due_of = delayed.soonest(list(engine.endpoints), _MOST_SCHEDULED)
    except RedisError as error:
        _log.warning("reading the delayed jobs failed: %s", error)
        return []
    return [
        {
            "eta": records.iso(at),
            "priority": 6,
            "request": {"id": job_id, "name": TASK_NAME, "delivery_info": {"routing_key": queue_name(name)}},
        }
        for name, due in due_of.items()
        for job_id, at in due
    ]


def _active(engine: Engine) -> list[dict[str, Any]]:
    return [_described(job) for each in list(engine.endpoints.values()) for job in each.running_jobs]


def _reserved(engine: Engine) -> list[dict[str, Any]]:
    return [_described(job) for each in list(engine.endpoints.values()) for job in each.waiting_jobs]


def _described(job: QueuedJob) -> dict[str, Any]:
    return {
        "id": job.job_id,
        "name": TASK_NAME,
        "args": job.event_fields["args"],
        "kwargs": job.event_fields["kwargs"],
        "delivery_info": {"routing_key": queue_name(job.endpoint_name, job.priority)},
    }


_INSPECT_COMMANDS = {"active_queues": _queues, "active": _active, "reserved": _reserved, "scheduled": _scheduled}
#: Celery's commands that would report success without any effect here, and the alternatives.
_REFUSED_COMMANDS = {
    "rate_limit": "workers have no rate limit for predict; API keys can have one: queuecast keys create --rate",
    "time_limit": "the time limit of a prediction is its deployment's setting timeout_s",
}
