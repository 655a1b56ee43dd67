"""Remote control: the engine's part of Celery's inspect and control commands, which Flower uses too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from celery.worker.control import Panel
from redis import RedisError

from workers.engine.engine import Engine
from workers.engine.intake.messages import QueuedJob
from workers.jobs import records
from workers.queues import delayed
from workers.queues.naming import TASK_NAME, queue_name

_log = logging.getLogger(__name__)

#: The number of delayed jobs that are listed for each endpoint.
_MOST_SCHEDULED = 100


def of(engine: Engine) -> None:
    """Add this engine to Celery's commands."""
    for name, engine_command in _INSPECT_COMMANDS.items():
        Panel.data[name] = _joined(Panel.data[name], engine_command, engine)
    for name, is_protected, remedy in _REFUSED_COMMANDS:
        Panel.data[name] = _refusing(Panel.data[name], is_protected, remedy)
    Panel.data["revoke"] = revoke = _revoking(Panel.data["revoke"], engine)
    Panel.data["terminate"] = _terminating(revoke)


def _joined(celery_command: Any, engine_command: Any, engine: Engine) -> Any:
    def answer(state: Any, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        return [*(celery_command(state, *args, **kwargs) or []), *engine_command(engine)]

    return answer


def _refusing(celery_command: Any, is_protected: Callable[[str], bool], remedy: str) -> Any:
    """Wrap a command to return an error for prediction queues and `predict`, which only deployments control."""

    def refuse(state: Any, *args: Any, **kwargs: Any) -> Any:
        named = kwargs.get("queue") or kwargs.get("task_name") or next(iter(args), None)
        if isinstance(named, str) and is_protected(named):
            return {"error": f"not supported, nothing was changed: {remedy}"}
        return celery_command(state, *args, **kwargs)

    return refuse


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


def _is_endpoints(queue: str) -> bool:
    return queue.startswith(queue_name(""))


def _is_ours(task_name: str) -> bool:
    return task_name == TASK_NAME


_INSPECT_COMMANDS = {"active_queues": _queues, "active": _active, "reserved": _reserved, "scheduled": _scheduled}
#: Alternatives to Celery commands that would report success without any effect here.
_TO_STOP = (
    "workers consume this queue as long as its endpoint is deployed in their group. To stop them and keep the queued "
    "jobs: queuecast undeploy ENDPOINT --backlog park"
)
_TO_BEGIN = (
    "workers consume this queue once its endpoint is deployed in their group: "
    "queuecast deploy MODEL --endpoint ENDPOINT"
)
_TO_LIMIT = "workers have no rate limit for predict; API keys can have one: queuecast keys create --rate"
_TO_STOP_SLOW_ONES = "the time limit of a prediction is its deployment's setting timeout_s"
#: The commands, the queues or tasks for which they are refused, and the alternatives.
_REFUSED_COMMANDS: Sequence[tuple[str, Callable[[str], bool], str]] = [
    ("cancel_consumer", _is_endpoints, _TO_STOP),
    ("add_consumer", _is_endpoints, _TO_BEGIN),
    ("rate_limit", _is_ours, _TO_LIMIT),
    ("time_limit", _is_ours, _TO_STOP_SLOW_ONES),
]
