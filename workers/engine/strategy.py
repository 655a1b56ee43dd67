"""What happens to a `predict` message that reaches Celery's own consumer: it goes to its endpoint's queue.

That happens to jobs that were sent to no queue in particular, and when somebody has told this worker
by remote control to consume a prediction queue, which the engine does better.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from kombu.exceptions import OperationalError

from workers import arguments, broker
from workers.errors import JobArgumentsWrong
from workers.queues import priority_of, queue_name

_log = logging.getLogger(__name__)


def start(task: Any, _app: Any, consumer: Any, **_: Any) -> Callable[..., None]:
    """Return the handler of received messages; Celery calls this for each task."""

    def forward(message: Any, *_: Any) -> None:
        try:
            args, kwargs, _embedded = message.payload
            source = str(message.delivery_info.get("routing_key"))
            queue = queue_name(arguments.parse(args, kwargs).endpoint_name, priority_of(source))
        except (JobArgumentsWrong, ValueError, TypeError) as error:
            _log.error("dropped a %s message that names no endpoint: %s", task.name, error)
            message.reject()
            return
        if source == queue:
            consumer.cancel_task_queue(queue)
        body = message.body if isinstance(message.body, bytes) else message.body.encode()
        # kombu has decompressed the body already.
        headers = {name: value for name, value in message.headers.items() if name != "compression"}
        try:
            broker.publish(queue, body, headers, message.content_type, message.properties)
        except OperationalError as error:
            # One that Celery takes for what it is: it connects anew, and gets the message again.
            raise ConnectionError(f"a message could not be forwarded: {error}") from error
        message.ack()

    return forward
