"""The queues of a RabbitMQ: its management plugin tells their names, and their messages are read as any client does.

AMQP has no way to ask which queues there are. A message is held, unacknowledged, as long as it is looked at; what is
not removed is in its queue again, at its place, once the connection is closed.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from amqp.exceptions import AMQPError, NotFound

from registry import names
from workers.app import app
from workers.endpoints.waiting import Waiting
from workers.errors import QueueUnavailable
from workers.queues import envelopes
from workers.queues.naming import TASK_NAME, endpoint_of, queue_name, queue_names

_TIMEOUT_S = 5.0
#: Messages of one queue in a round.
_MOST_OF_QUEUE = 1_000
_LOST = (AMQPError, OSError)


class RabbitQueues:
    """The queues of one virtual host.

    Args:
        url: of the management plugin, with user and password.
        virtual_host: by default that of the broker's URL.
    """

    beside_records = False

    def __init__(self, url: str, virtual_host: str | None = None) -> None:
        parts = urlsplit(url)
        host = virtual_host if virtual_host is not None else app.connection_for_read().virtual_host or "/"
        path = f"{parts.path.rstrip('/')}/api/queues/{quote(host, safe='')}"
        self._url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "columns=name,messages", ""))
        self._user = f"{parts.username or 'guest'}:{parts.password or 'guest'}"

    def endpoints(self) -> set[str]:
        """Return the names of the endpoints for which messages wait.

        Raises:
            QueueUnavailable: the management plugin can't be reached, or refuses.
        """
        authorization = base64.b64encode(self._user.encode()).decode()
        request = urllib.request.Request(self._url, headers={"Authorization": f"Basic {authorization}"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - the operator's own
                found = json.load(answer)
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise QueueUnavailable(f"RabbitMQ's management plugin does not list its queues: {error}") from error
        ours = [each for each in found if str(each.get("name")).startswith(queue_name(""))]
        # The plugin counts the messages of a new queue a little later.
        waiting = {endpoint_of(each["name"]) for each in ours if each.get("messages") != 0}
        return {name for name in waiting if names.could_exist(name)}

    def messages(self, endpoint_name: str) -> Iterator[Waiting]:
        """Yield the messages of jobs that wait for an endpoint.

        Raises:
            QueueUnavailable: RabbitMQ can't be reached.
        """
        try:
            with app.connection_for_read() as connection:
                for queue in queue_names(endpoint_name):
                    with suppress(NotFound):
                        yield from self._messages_of(connection.channel(), queue)
        except _LOST as error:
            raise QueueUnavailable(f"RabbitMQ was lost: {error}") from error

    def remove(self, waiting: Waiting) -> None:
        """Remove the message that was yielded last; its job has ended."""
        if waiting.acknowledge is not None:
            waiting.acknowledge()

    @staticmethod
    def _messages_of(channel: Any, queue: str) -> Iterator[Waiting]:
        for _ in range(_MOST_OF_QUEUE):
            message = channel.basic_get(queue, no_ack=False)
            if message is None:
                return
            headers = message.properties.get("application_headers") or {}
            if headers.get("task") == TASK_NAME and isinstance(headers.get("id"), str):
                body, content_type = message.body, message.properties.get("content_type")
                sent = body.encode() if isinstance(body, str) else bytes(body)
                envelope = envelopes.wrap(queue, sent, content_type, dict(headers), {})
                yield Waiting(queue, b"", envelope, lambda tag=message.delivery_tag: channel.basic_ack(tag))  # type: ignore[misc]
