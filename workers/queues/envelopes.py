"""The form that task messages have in Redis: kombu's envelope around Celery's protocol 2.

Written and read here directly, because a message has to be stored together with its job's record in
one step. The form is kombu's virtual transport's (kombu 5.7, `transport/virtual/base.py`); a test
holds it against what kombu itself writes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from workers.keys import OWNER_HEADER
from workers.platform import fast_json
from workers.queues import naming, priorities, unpacking
from workers.queues.priorities import Priority
from workers.queues.unpacking import NotUnpacked

_JSON = "application/json"
_PERSISTENT = 2


class EnvelopeUnreadable(Exception):
    """It is no envelope with a task message in it; the message says why."""


class Envelope(NamedTuple):
    """A message that was read; the body is still encoded."""

    body: Any
    content_type: str | None
    headers: dict[str, Any]
    properties: dict[str, Any]

    @property
    def priority(self) -> Priority:
        """The priority of the job: that of the queue it was sent to, or of its number on Redis."""
        delivery, number = self.properties.get("delivery_info"), self.properties.get("priority")
        queue = delivery.get("routing_key") if isinstance(delivery, dict) else None
        priority = naming.priority_of(queue) if isinstance(queue, str) else Priority.NORMAL
        if priority is Priority.NORMAL and isinstance(number, int):
            return priorities.of_number(number, amqp=False)
        return priority

    def arguments(self) -> tuple[Any, Any]:
        """Return what stands in the places of args and kwargs. Raises EnvelopeUnreadable."""
        return arguments_in(self.json())

    def json(self) -> bytes | str:
        """Return the body, which should be JSON. Raises EnvelopeUnreadable."""
        if self.content_type != _JSON:
            raise EnvelopeUnreadable(f"The message is {self.content_type}; only JSON is read here.")
        return self.content()

    @property
    def is_packed(self) -> bool:
        """Whether the body is compressed."""
        return bool(self.headers.get("compression"))

    def content(self) -> bytes | str:
        """Return the body as it was before it was encoded and compressed. Raises EnvelopeUnreadable."""
        return b"".join(self.unpacked()) if self.is_packed else self._decoded()

    def unpacked(self) -> Iterator[bytes]:
        """Yield a compressed body as it was before, in pieces (see `unpacking`). Raises EnvelopeUnreadable."""
        try:
            yield from unpacking.pieces(self._decoded(), self.headers.get("compression"))
        except NotUnpacked as error:
            raise EnvelopeUnreadable(f"The message's body is compressed, and {error}.") from error

    def sent_body(self) -> bytes:
        """Return the body as its sender gave it to kombu: compressed perhaps. Raises EnvelopeUnreadable."""
        decoded = self._decoded()
        return decoded.encode() if isinstance(decoded, str) else decoded

    def _decoded(self) -> bytes | str:
        """The body, which is compressed perhaps, but not encoded any more."""
        if not isinstance(self.body, str):
            raise EnvelopeUnreadable("The message's body is no text.")
        if self.properties.get("body_encoding") != "base64":
            return self.body
        try:
            return base64.b64decode(self.body)
        except ValueError as error:
            raise EnvelopeUnreadable("The message's body is not in base64.") from error


def arguments_in(body: bytes | str) -> tuple[Any, Any]:
    """Return what stands in the places of args and kwargs of a body. Raises EnvelopeUnreadable."""
    try:
        args, kwargs, _embedded = fast_json.loads(body)
    except (ValueError, TypeError, RecursionError) as error:
        raise EnvelopeUnreadable("The message's body can't be read as [args, kwargs, options] in JSON.") from error
    return args, kwargs


#: How the bodies end of messages that name nothing that follows the task, as Celery and this package write them.
_NOTHING_FOLLOWS = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
_parts = msgspec.json.Decoder(tuple[Raw, Raw, Raw])


def may_name_successors(body: bytes | str) -> bool:
    """Tell whether a body may name what follows the task, without parsing it."""
    return not (body.endswith(_NOTHING_FOLLOWS) if isinstance(body, str) else body.endswith(_NOTHING_FOLLOWS.encode()))


def embedded_in(body: bytes | str) -> Any:
    """Return what a body names that follows the task: Celery's callbacks, chain and chord; None if it names nothing.

    The rows, which can be long, are parsed only if they are no strict JSON, such as NaN. A body that can't be read
    names nothing.
    """
    if not may_name_successors(body):
        return None
    with suppress(ValueError, RecursionError):
        return fast_json.loads(bytes(_parts.decode(body)[2]))
    with suppress(ValueError, TypeError, LookupError, RecursionError):
        return fast_json.loads(body)[2]
    return None


def owner(headers: Mapping[str, Any]) -> str | None:
    """Return whose job a message carries, None for nobody's."""
    found = headers.get(OWNER_HEADER)
    return found if isinstance(found, str) else None


def wrap(
    queue: str, body: bytes, content_type: str | None, headers: dict[str, Any], properties: dict[str, Any]
) -> Envelope:
    """Return the parts of a message as an envelope; its delivery tag is the job's id."""
    wrapped = {
        **properties,
        "delivery_mode": _PERSISTENT,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "body_encoding": "base64",
        "delivery_tag": headers.get("id"),
    }
    return Envelope(base64.b64encode(body).decode(), content_type, headers, wrapped)


def stored(envelope: Envelope, default: Callable[[Any], Any] | None = None) -> bytes:
    """Return an envelope as it stands in Redis; `default` says in JSON what JSON can't (see `json.dumps`)."""
    return json.dumps(
        {
            "body": envelope.body,
            "content-encoding": "utf-8",
            "content-type": envelope.content_type,
            "headers": envelope.headers,
            "properties": envelope.properties,
        },
        default=default,
    ).encode()


def seconds(moment: str | None) -> float | None:
    """Return a message's `eta` or `expires` in seconds since the epoch; without a zone it is UTC, as in Celery.

    Raises:
        ValueError, TypeError, OverflowError: it is not in ISO 8601.
    """
    if not moment:
        return None
    parsed = datetime.fromisoformat(moment)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def decode(envelope: bytes) -> Envelope:
    """Read an envelope. Raises EnvelopeUnreadable."""
    try:
        found = fast_json.loads(envelope)
        headers, properties = found["headers"], found["properties"]
        if not isinstance(headers, dict) or not isinstance(properties, dict):
            raise EnvelopeUnreadable("headers and properties must be objects")
        return Envelope(found["body"], found.get("content-type"), headers, properties)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise EnvelopeUnreadable(f"{type(error).__name__}: {error}") from error
