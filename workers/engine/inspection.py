"""What remote control and Flower ask a worker about its queues and jobs, or tell it to do, done by the engine."""

from __future__ import annotations

from typing import Any

from celery.worker.control import Panel

from workers.engine.engine import Engine
from workers.engine.messages import QueuedJob
from workers.queues import TASK_NAME, queue_name


def of(engine: Engine) -> None:
    """Let this engine answer, and do, in addition to what Celery itself knows."""
    for name in ("active_queues", "active", "reserved"):
        celerys = Panel.data[name]
        Panel.data[name] = _joined(celerys, _ANSWERS[name], engine)
    Panel.data["revoke"] = revoke = _revoking(Panel.data["revoke"], engine)
    Panel.data["terminate"] = _terminating(revoke)


def _joined(celerys: Any, ours: Any, engine: Engine) -> Any:
    def answer(state: Any, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        return [*(celerys(state, *args, **kwargs) or []), *ours(engine)]

    return answer


def _revoking(celerys: Any, engine: Engine) -> Any:
    def revoke(state: Any, task_id: Any, *args: Any, terminate: bool = False, **kwargs: Any) -> Any:
        engine.revoke([task_id] if isinstance(task_id, str) else list(task_id), force=terminate)
        return celerys(state, task_id, *args, terminate=terminate, **kwargs)

    return revoke


def _terminating(revoke: Any) -> Any:
    def terminate(state: Any, signal: Any, task_id: Any, **_: Any) -> Any:
        return revoke(state, task_id, terminate=True, signal=signal)

    return terminate


def _queues(engine: Engine) -> list[dict[str, Any]]:
    return [
        {"name": queue_name(name), "routing_key": queue_name(name), "exchange": {"name": "", "type": "direct"}}
        for name in list(engine.endpoints)
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


_ANSWERS = {"active_queues": _queues, "active": _active, "reserved": _reserved}
