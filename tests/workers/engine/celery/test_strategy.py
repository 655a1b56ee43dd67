"""Messages that reach Celery's own consumer are forwarded to their endpoint's queue."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from workers.broker import broker_client
from workers.engine.celery import strategy
from workers.engine.intake.messages import parse
from workers.queues import arguments, envelopes
from workers.queues.naming import CONTROL_QUEUE, queue_name

QUEUE = queue_name("adding")


class Consumer:
    """Takes note of the queues that it is told to leave."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    def cancel_task_queue(self, queue: str) -> None:
        self.cancelled.append(queue)


class Received:
    """A worker's handler, and the messages that a queue has for it."""

    def __init__(self, app: Celery) -> None:
        self.consumer = Consumer()
        self._app = app
        self._forward: Callable[..., None] = strategy.start(SimpleNamespace(name="predict"), app, self.consumer)

    def next(self, queue: str = CONTROL_QUEUE) -> Any:
        """Take the next message of a queue and forward it; return it."""
        with self._app.connection_for_read() as connection, connection.SimpleQueue(queue) as simple:
            message = simple.get(timeout=5)
            # The real arguments, of which the message is enough.
            self._forward(message, message.decode, None, [])
            return message


@pytest.fixture
def received(bare_app: Celery) -> Received:
    return Received(bare_app)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_job_without_a_queue_of_its_own_goes_to_its_endpoints(
    store: redis.Redis, bare_app: Celery, received: Received, compression: str | None
) -> None:
    args = ["adding", ["é"] * 100]
    result = bare_app.send_task("predict", args, queue=CONTROL_QUEUE, compression=compression, countdown=60)
    message = received.next()
    assert message.acknowledged
    [content] = store.lrange(QUEUE, 0, -1)
    assert isinstance(content, bytes)
    job = parse("tag", "adding", content)
    assert (job.job_id, arguments.values(job.rows), job.fault) == (result.id, [args[1]], None)
    assert job.not_before is not None
    assert envelopes.decode(content).properties["correlation_id"] == result.id
    assert store.llen(CONTROL_QUEUE) == 0
    assert received.consumer.cancelled == []


def test_an_endpoints_queue_that_celery_was_told_to_consume_is_left_to_the_engine(
    store: redis.Redis, bare_app: Celery, received: Received
) -> None:
    bare_app.send_task("predict", ["adding", 1], queue=QUEUE)
    received.next(QUEUE)
    assert received.consumer.cancelled == [QUEUE]
    assert store.llen(QUEUE) == 1


@pytest.mark.parametrize(
    "body",
    [
        [["adding"], {}, {}],
        [[5, 1], {}, {}],
        [["adding", 1], [], {}],
        [["two\nlines", 1], {}, {}],
        [["\ud800", 1], {}, {}],
        [None, None, None],
        [1, 2],
        "text",
        5,
        None,
        {"a": 1, "b": 2, "c": 3},
    ],
)
def test_what_names_no_endpoint_is_dropped(
    store: redis.Redis, bare_app: Celery, received: Received, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with bare_app.producer_or_acquire() as producer:
        producer.publish(
            json.dumps(body), routing_key=CONTROL_QUEUE, exchange="",
            content_type="application/json", content_encoding="utf-8", headers={"task": "predict", "id": "odd"},
        )  # fmt: skip
    message = received.next()
    assert message.acknowledged
    assert "without an endpoint" in caplog.text
    assert store.keys("predict.*") == []
    assert store.llen(CONTROL_QUEUE) == 0


def test_a_broker_that_is_away_is_a_lost_connection_and_the_message_stays(
    store: redis.Redis, bare_app: Celery, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(broker_client, "publish", away)
    bare_app.send_task("predict", ["adding", 1], queue=CONTROL_QUEUE)
    with pytest.raises(ConnectionError):
        received.next()
    assert store.llen(QUEUE) == 0
    # The consumer has not acknowledged it, so it is delivered again.
    assert store.llen(CONTROL_QUEUE) + store.hlen("unacked") == 1
