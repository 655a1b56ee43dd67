"""Messages that somebody put straight onto a queue: each ends in a defined place, and no worker stops."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import pytest
import redis
from celery import Celery

from tests.support.models import Echo
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys
from workers.queues.naming import queue_name


def envelope(body: Any, *, job_id: str | None = "x", task: str = "predict", **more: Any) -> bytes:
    """A message as kombu writes them, with whatever is wrong with it."""
    headers = {"task": task, "id": job_id, "argsrepr": "", "kwargsrepr": "", **more.pop("headers", {})}
    if job_id is None:
        del headers["id"]
    text = body if isinstance(body, str) else json.dumps(body)
    return json.dumps(
        {
            "body": base64.b64encode(text.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": {"body_encoding": "base64", "delivery_tag": uuid.uuid4().hex, "delivery_info": {}},
            **more,
        }
    ).encode()


@pytest.fixture
def endpoint(service: Stack, name: str) -> str:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    return name


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff\xfe not text",
        b"not json",
        b"[]",
        b"null",
        b'{"body": 1}',
        b'{"body": "", "headers": [], "properties": {}}',
        b'{"body": "", "headers": {"task": "predict"}, "properties": {}}',
        b'{"headers": ' + b"[" * 100_000,
        envelope([[], {}, {}], task="os.system"),
        envelope([[], {}, {}], job_id=None),
        envelope([[], {}, {}], headers={"id": 5}),
        envelope([[], {}, {}], headers={"eta": "no time"}),
        envelope({"task": "predict"}, headers={"task": "predict"}, job_id=None),
    ],
    ids=lambda message: message[:40].decode(errors="replace"),
)
def test_what_is_no_task_message_is_put_aside(service: Stack, endpoint: str, message: bytes) -> None:
    with redis.Redis.from_url(service.redis.url) as client:
        before = client.llen(keys.MALFORMED)
        client.lpush(queue_name(endpoint), message)
        eventually(lambda: client.llen(keys.MALFORMED) == before + 1, message="it is put aside")
        assert client.lindex(keys.MALFORMED, 0) == message
        assert client.llen(queue_name(endpoint)) == 0
    assert service.predict(endpoint, "next")["prediction"] == ["m", "next"]


@pytest.mark.parametrize(
    ("body", "more"),
    [
        ("not json", {}),
        ([], {}),
        ([1, 2, 3], {}),
        ([[], {}, {}], {}),
        ([["{endpoint}"], {}, {}], {}),
        ([["{endpoint}", "x", "y"], {}, {}], {}),
        ([["{endpoint}", 5], {}, {}], {}),
        ([["{endpoint}"], {"inputs": []}, {}], {}),
        ([["{endpoint}"], {"inputs": [5]}, {}], {}),
        ([["another", "x"], {}, {}], {}),
        ([["{endpoint}", "x"], {"surprise": 1}, {}], {}),
        ([["{endpoint}", [0] * 1_000_000], {}, {}], {}),
        ([["{endpoint}", "x"], {}, {}], {"content-type": "application/x-python-serialize"}),
        ([["{endpoint}", "x"], {}, {}], {"headers": {"compression": "application/nothing"}}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_task_message_with_wrong_arguments_fails_its_job(
    service: Stack, endpoint: str, body: Any, more: dict[str, Any]
) -> None:
    job_id = uuid.uuid4().hex
    body = json.loads(json.dumps(body).replace("{endpoint}", endpoint))
    with redis.Redis.from_url(service.redis.url) as client:
        client.lpush(queue_name(endpoint), envelope(body, job_id=job_id, **more))
    service.wait_until_known([job_id])
    document = service.job(job_id)
    assert document["status"] == "failed"
    assert document["error"]["code"] == "input_invalid"
    assert len(document["error"]["message"]) < 500
    assert service.predict(endpoint, "next")["prediction"] == ["m", "next"]


def test_a_message_of_protocol_1_fails_its_job_with_the_remedy(service: Stack, endpoint: str) -> None:
    app = Celery(broker=service.redis.url, backend=service.redis.url, set_as_current=False)
    app.conf.task_protocol = 1
    result = app.send_task("predict", args=[endpoint, "x"], queue=queue_name(endpoint))
    with pytest.raises(Exception, match="task_protocol = 2"):
        result.get(timeout=20)
    assert service.job(result.id)["error"]["code"] == "input_invalid"
    assert service.predict(endpoint, "next")["prediction"] == ["m", "next"]
    app.close()


@pytest.mark.parametrize("priority", [0, 3, 5, 6, 9])
def test_a_message_with_a_priority_is_run_whatever_list_kombu_puts_it_into(
    service: Stack, endpoint: str, priority: int
) -> None:
    result = service.celery.send_task("predict", args=[endpoint, "x"], queue=queue_name(endpoint), priority=priority)
    assert result.get(timeout=20)["prediction"] == ["m", "x"]


def test_messages_for_an_endpoint_that_is_not_deployed_wait_in_its_queue(service: Stack, name: str) -> None:
    app = service.celery
    result = app.send_task("predict", args=[name, "x"], queue=queue_name(name))
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    assert result.get(timeout=20)["prediction"] == ["m", "x"]
