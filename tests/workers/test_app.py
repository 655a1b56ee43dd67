"""The Celery app: where `predict` calls go and what everything else finds."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from workers.app import app, route
from workers.queues.naming import CONTROL_QUEUE, TASK_NAME, queue_name


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "queue"),
    [
        (TASK_NAME, ("adding", 1), {}, "predict.adding"),
        (TASK_NAME, ["adding"], {"inputs": [1]}, "predict.adding"),
        (TASK_NAME, (), {"endpoint_name": "adding", "input": 1}, "predict.adding"),
        (TASK_NAME, None, {"endpoint_name": "adding"}, "predict.adding"),
        (TASK_NAME, None, None, None),
        (TASK_NAME, (5,), {}, None),
        ("other", ("adding", 1), {}, None),
    ],
)
def test_calls_go_to_their_endpoints_queue(name: str, args: Any, kwargs: Any, queue: str | None) -> None:
    assert route(name, args, kwargs, {}, None) == (None if queue is None else {"queue": queue})


def test_a_call_by_name_goes_to_its_endpoints_queue_without_being_told(store: redis.Redis) -> None:
    result = app.send_task(TASK_NAME, ["adding", 1])
    [message] = store.lrange(queue_name("adding"), 0, -1)
    assert json.loads(message)["headers"]["id"] == result.id
    assert store.llen(CONTROL_QUEUE) == 0


def test_only_json_is_spoken() -> None:
    assert app.conf.accept_content == app.conf.result_accept_content == ["json"]
    assert app.conf.task_serializer == app.conf.result_serializer == "json"


def test_the_task_is_there_under_its_name() -> None:
    app.loader.import_default_modules()
    task = app.tasks[TASK_NAME]
    assert (task.name, task.acks_late, task.Strategy) == ("predict", True, "workers.engine.celery.strategy:start")
