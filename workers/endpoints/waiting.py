"""The messages of jobs that wait in queues of endpoints, whatever is deployed; of other programs' queues nothing.

On Redis, a queue is a list, and the lists are found by their names. RabbitMQ tells nobody which queues it has but its
management plugin (see `rabbitmq_queues`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import redis

from registry import names
from workers.queues.envelopes import Envelope, EnvelopeUnreadable, decode
from workers.queues.naming import LISTS, TASK_NAME, endpoint_of, queue_name

#: Keys that one step of the search looks at.
_LOOKED_AT_ONCE = 1_000
#: Messages in a round trip, and of one list in a round; they are in memory together, so a page ends it that is longer.
_PAGE, _MOST_OF_LIST, _MOST_BYTES = 10, 1_000, 32 * 1024 * 1024


class Waiting(NamedTuple):
    """A message that waits in a queue."""

    queue: str
    message: bytes
    envelope: Envelope
    #: Removes it, where the broker waits for that.
    acknowledge: Callable[[], None] | None = None

    @property
    def job_id(self) -> str:
        """The id of its job."""
        return str(self.envelope.headers["id"])


class Queues(Protocol):
    """The queues of one broker; `beside_records` if one step can change both."""

    beside_records: bool

    def endpoints(self) -> set[str]:
        """Return the names of the endpoints for which messages wait. Raises redis.RedisError."""

    def messages(self, endpoint_name: str) -> Iterator[Waiting]:
        """Yield the messages of jobs that wait for an endpoint, the oldest of each queue first."""

    def remove(self, waiting: Waiting) -> None:
        """Remove a message whose job has ended."""


class RedisQueues:
    """The queues in a Redis."""

    def __init__(self, client: redis.Redis, *, beside_records: bool) -> None:
        self._client = client
        self.beside_records = beside_records

    def endpoints(self) -> set[str]:
        """Return the names of the endpoints that have a list. Raises redis.RedisError."""
        # No list is ever empty.
        pattern = queue_name("") + "*"
        found = self._client.scan_iter(pattern, count=_LOOKED_AT_ONCE, _type="LIST")
        return {name for each in found if (name := _endpoint_of(each)) is not None}

    def messages(self, endpoint_name: str) -> Iterator[Waiting]:
        """Yield the messages of jobs, the oldest of each list first. Raises redis.RedisError."""
        for suffix in sorted({each for suffixes in LISTS.values() for each in suffixes}):
            yield from self._messages_of(queue_name(endpoint_name) + suffix)

    def remove(self, waiting: Waiting) -> None:
        """Remove a message whose job has ended. Raises redis.RedisError."""
        self._client.lrem(waiting.queue, -1, waiting.message)  # type: ignore[arg-type]

    def _messages_of(self, name: str) -> Iterator[Waiting]:
        # Read before any is removed: the places of the others change then.
        found: list[bytes] = []
        for start in range(0, _MOST_OF_LIST, _PAGE):
            page: Any = self._client.lrange(name, -start - _PAGE, -start - 1)
            found += reversed(page)
            if len(page) < _PAGE or sum(map(len, found)) > _MOST_BYTES:
                break
        for message in found:
            envelope = _job_in(message)
            if envelope is not None:
                yield Waiting(name, message, envelope)


def _endpoint_of(key: bytes) -> str | None:
    """Return the endpoint of a list; None if it is no queue of ours."""
    # kombu puts two control characters and a number behind a queue's name, for numbers as priorities.
    name = endpoint_of(key.decode(errors="replace").partition("\x06")[0])
    return name if names.could_exist(name) else None


def _job_in(message: bytes) -> Envelope | None:
    """Return a message if it is one of a job; None for what other programs or other tasks have there."""
    try:
        envelope = decode(message)
    except EnvelopeUnreadable:
        return None
    is_job = envelope.headers.get("task") == TASK_NAME and isinstance(envelope.headers.get("id"), str)
    return envelope if is_job else None
