"""Sending a message through Celery's own connection, to a broker that is not the Redis of the records."""

from __future__ import annotations

import base64

from workers import envelopes
from workers.app import app

_PUBLISH_RETRIES = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1}


def send(queue: str, envelope: bytes) -> None:
    """Publish an envelope's message to a queue, and return once the broker has it.

    Raises:
        kombu.exceptions.OperationalError: the broker can't be reached.
    """
    found = envelopes.decode(envelope)
    with app.producer_or_acquire() as producer:
        producer.publish(
            base64.b64decode(found.body),
            exchange="",
            routing_key=queue,
            headers=found.headers,
            content_type=found.content_type,
            content_encoding="utf-8",
            delivery_mode=2,
            priority=found.properties.get("priority") or None,
            correlation_id=found.properties.get("correlation_id"),
            reply_to=found.properties.get("reply_to"),
            declare=[app.amqp.queues[queue]],
            retry=True,
            retry_policy=_PUBLISH_RETRIES,
        )
