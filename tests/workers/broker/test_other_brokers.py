"""Accepting jobs where the broker is not the Redis of the records: first the record, then the message."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from kombu.exceptions import OperationalError

from tests.support.service.environment import REPOSITORY, forget_cached_settings
from tests.support.service.ports import free_port
from tests.workers.conftest import submit
from workers import keys
from workers.broker import broker_client
from workers.errors import JobUnconfirmed, QueueUnavailable
from workers.jobs import accept, query
from workers.jobs.accept import Idempotency
from workers.jobs.query import JobState
from workers.platform.lua import Lua, script
from workers.queues import envelopes
from workers.queues.naming import queue_name

QUEUE = queue_name("adding")
ONCE = Idempotency("key", b"request")


class Broker:
    """Takes messages, or refuses them, and looks at what is stored at that moment."""

    def __init__(self, store: redis.Redis) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.refuses = False
        self.stored_at_send: list[bytes] = []
        self._store = store

    def send(self, queue: str, envelope: bytes) -> None:
        self.stored_at_send = self._store.keys()  # type: ignore[assignment, unused-ignore]
        if self.refuses:
            raise OperationalError("the broker is away")
        self.sent.append((queue, envelope))


@pytest.fixture
def other_broker(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """Queues are elsewhere; what would be sent there is recorded."""
    other = Broker(store)
    monkeypatch.setenv("QUEUECAST_BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setattr(broker_client, "send", other.send)
    forget_cached_settings()
    yield other
    monkeypatch.undo()
    forget_cached_settings()


def test_the_record_is_there_before_the_message_is_sent_to_its_queue(store: redis.Redis, other_broker: Broker) -> None:
    accepted = submit(row=[1, 2])
    assert keys.record(accepted.job_id).encode() in other_broker.stored_at_send
    [(queue, envelope)] = other_broker.sent
    assert (queue, envelope) == (QUEUE, store.get(keys.message(accepted.job_id)))
    assert envelopes.decode(envelope).arguments() == (["adding", [1, 2]], {})
    assert not store.exists(QUEUE)


@pytest.mark.parametrize("once", [None, ONCE])
def test_a_broker_that_refuses_takes_the_whole_job_back(
    store: redis.Redis, other_broker: Broker, once: Idempotency | None
) -> None:
    other_broker.refuses = True
    with pytest.raises(QueueUnavailable):
        submit(idempotency=once, expires=60)
    assert keys.EXPIRING.encode() in other_broker.stored_at_send
    assert store.keys() == [keys.ENDPOINTS.encode()]
    other_broker.refuses = False
    assert not submit(idempotency=once).repeated


def test_a_submit_whose_answer_was_lost_before_its_message_was_sent_is_not_said_to_be_accepted(
    store: redis.Redis, other_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(client: redis.Redis, source: Lua) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            script(client, source)(*given)  # as if the connection was lost, and the client had sent it again
            return script(client, source)(*given)

        return run

    monkeypatch.setattr(accept, "script", twice)
    with pytest.raises(QueueUnavailable, match="still being stored"):
        submit(idempotency=ONCE)
    assert other_broker.sent == []


def test_what_a_broker_may_have_keeps_its_record_and_a_repeat_is_that_job(
    store: redis.Redis, other_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_without_a_word(queue: str, envelope: bytes) -> None:
        other_broker.send(queue, envelope)
        raise broker_client.SendUnconfirmed("no answer")

    monkeypatch.setattr(broker_client, "send", taken_without_a_word)
    with pytest.raises(JobUnconfirmed) as caught:
        submit(idempotency=ONCE)
    again = submit(idempotency=ONCE)
    [(_, envelope)] = other_broker.sent
    assert envelopes.decode(envelope).headers["id"] == caught.value.job_id == again.job_id
    assert query.get(again.job_id).state is JobState.QUEUED


def test_a_job_that_was_cancelled_while_it_was_sent_is_not_taken_back(
    store: redis.Redis, other_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled_meanwhile(*_: object) -> None:
        query.cancel("mine")
        raise OperationalError("no answer")

    monkeypatch.setattr(broker_client, "send", cancelled_meanwhile)
    with pytest.raises(QueueUnavailable):
        submit(task_id="mine")
    assert query.get("mine").state is JobState.CANCELLED


def test_a_repeated_request_is_the_first_job_once_that_is_sent(store: redis.Redis, other_broker: Broker) -> None:
    first = submit(idempotency=ONCE)
    assert submit(idempotency=ONCE).job_id == first.job_id
    assert len(other_broker.sent) == 1


def test_a_repeated_request_waits_while_the_first_is_being_sent(
    store: redis.Redis, other_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []

    def send_slowly(*_: object) -> None:
        with pytest.raises(QueueUnavailable, match="still being stored") as caught:
            submit(idempotency=ONCE)
        refused.append(caught.value)

    monkeypatch.setattr(broker_client, "send", send_slowly)
    submit(idempotency=ONCE)
    assert len(refused) == 1


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_not_there_leaves_nothing_behind(store: redis.Redis, scheme: str) -> None:
    program = """
import time
from workers.errors import QueueUnavailable
from workers.tasks import predict
began = time.monotonic()
try:
    predict.delay("adding", 1)
except QueueUnavailable as error:
    assert time.monotonic() - began < 5
    assert "://" not in str(error)
    print("refused")
"""
    port = free_port()
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "QUEUECAST_BROKER_URL": f"{scheme}://127.0.0.1:{port}/"},
    )  # fmt: skip
    assert done.stdout == "refused\n", done.stderr
    assert store.keys() == [keys.ENDPOINTS.encode()]
