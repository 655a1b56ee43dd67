"""Sending to, and asking, a broker that is not the Redis of the records: RabbitMQ, or another Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kombu.exceptions import OperationalError

from workers.app import app
from workers.broker import rabbitmq
from workers.broker.rabbitmq import SendUnconfirmed
from workers.platform.redis.client import may_have_arrived
from workers.queues import envelopes
from workers.queues.envelopes import Envelope
from workers.settings import load

__all__ = ["SendUnconfirmed", "publish", "send", "send_many"]

_PUBLISH_RETRIES = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1}


def send(queue: str, envelope: bytes) -> None:
    """Publish an envelope's message to a queue, and return once the broker has it.

    Raises:
        SendUnconfirmed: the broker was lost on the way; it may have the message.
        kombu.exceptions.OperationalError: the broker can't be reached.
    """
    found = envelopes.decode(envelope)
    publish(queue, found.sent_body(), found.headers, found.content_type, found.properties)


def send_many(queue: str, messages: Sequence[bytes], sent: set[int]) -> None:
    """Publish the messages of many envelopes, and note in `sent` the index of each that the broker has.

    Raises:
        SendUnconfirmed: the broker was lost on the way; it may have some of those that are not in `sent`.
        kombu.exceptions.OperationalError: the broker can't be reached.
    """
    if load().broker_is_amqp:
        found = [envelopes.decode(each) for each in messages]
        rabbitmq.publish_many(queue, [_amqp(each) for each in found], sent)
        return
    for index, envelope in enumerate(messages):
        send(queue, envelope)
        sent.add(index)


def _amqp(envelope: Envelope) -> tuple[bytes, dict[str, Any]]:
    """The body and the AMQP properties of a message."""
    kept = _kept(envelope.content_type, envelope.properties)
    return envelope.sent_body(), {"application_headers": envelope.headers, **kept}


def _kept(content_type: str | None, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "content_type": content_type,
        "content_encoding": "utf-8",
        "priority": properties.get("priority") or None,
        "correlation_id": properties.get("correlation_id"),
        "reply_to": properties.get("reply_to"),
    }


def publish(
    queue: str, body: bytes, headers: dict[str, Any], content_type: str | None, properties: Mapping[str, Any]
) -> None:
    """Publish a task message to a queue, and return once the broker has it. Raises as `send` does."""
    kept = _kept(content_type, properties)
    if load().broker_is_amqp:
        rabbitmq.publish(queue, body, application_headers=headers, **kept)
        return
    earlier: list[BaseException] = []
    retries = {**_PUBLISH_RETRIES, "errback": lambda error, _interval: earlier.append(error)}
    try:
        with app.producer_or_acquire() as producer:
            producer.publish(
                body,
                exchange="",
                routing_key=queue,
                headers=headers,
                delivery_mode=2,
                retry=True,
                retry_policy=retries,
                **kept,
            )
    except OperationalError as error:
        if any(map(may_have_arrived, [*earlier, error.__cause__ or error])):
            raise SendUnconfirmed("the broker was lost on the way") from error
        raise
