"""Forwards `predict` messages that reach Celery's own consumer to their endpoint's queue.

They are jobs that were sent without a queue, or jobs of a prediction queue that an operator has added to this worker by
remote control, although the engine already consumes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from kombu.exceptions import OperationalError

from workers.broker import broker_client
from workers.errors import JobArgumentsWrong
from workers.queues import arguments
from workers.queues.naming import priority_of, queue_name

_log = logging.getLogger(__name__)


def start(task: Any, _app: Any, consumer: Any, **_: Any) -> Callable[..., None]:
    """Return the handler of received messages; Celery calls this for each task."""

    def forward(message: Any, *_: Any) -> None:
        try:
            args, kwargs, _embedded = message.payload
            source = str(message.delivery_info.get("routing_key"))
            queue = queue_name(arguments.parse(args, kwargs).endpoint_name, priority_of(source))
        except (JobArgumentsWrong, ValueError, TypeError) as error:
            _log.error("dropping a %s message without an endpoint: %s", task.name, error)
            message.reject()
            return
        if source == queue:
            consumer.cancel_task_queue(queue)
        body = message.body if isinstance(message.body, bytes) else message.body.encode()
        # kombu has already decompressed the body.
        headers = {name: value for name, value in message.headers.items() if name != "compression"}
        try:
            broker_client.publish(queue, body, headers, message.content_type, message.properties)
        except OperationalError as error:
            # Celery handles it: it reconnects and receives the message again.
            raise ConnectionError(f"forwarding a message failed: {error}") from error
        message.ack()

    return forward
