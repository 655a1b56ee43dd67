"""Speaking with RabbitMQ from any thread: publishing, and asking how long queues are, each within two seconds.

When `publish` returns, the message is stored: its queue is there (RabbitMQ drops what is sent to one that
isn't), the message is persistent, and RabbitMQ has confirmed it.

Queues are declared as Celery declares them, durable and without arguments, so that a program that declares
`predict.<endpoint>` by itself agrees. One that is there already is taken as it is, of whatever type.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import amqp
from amqp.exceptions import AMQPError, MessageNacked, NotFound, PreconditionFailed
from kombu.exceptions import OperationalError

from workers.app import app
from workers.platform.redis.client import CONNECT_TIMEOUT_S
from workers.settings import load

_log = logging.getLogger(__name__)

#: Together with the time to connect this stays under the two seconds of a submit.
_ANSWER_TIMEOUT_S = 1.2
#: A connection that was idle for longer may have been dropped on its way without a word.
_IDLE_S = 30.0
_PERSISTENT = 2
#: A name that no queue has.
_NO_QUEUE = "queuecast.nothing"

_Result = TypeVar("_Result")
#: A body, and the properties that AMQP knows, headers as `application_headers`.
Message = tuple[bytes, dict[str, Any]]


class SendUnconfirmed(OperationalError):
    """The broker was lost after a message was on its way, so it may have it."""


class BrokerBlocked(SendUnconfirmed):
    """RabbitMQ blocks publishers for now; it may still read a message that was on its way."""

    def __init__(self) -> None:
        super().__init__("RabbitMQ blocks publishers: it has an alarm, because it is short of memory or disk.")


class _Line:
    """One connection with one channel; used by one thread at a time.

    Attributes:
        unconfirmed: whether a message is on its way of which RabbitMQ has not said what became of it.
        used_at: when it was used last (monotonic).
    """

    def __init__(self, url: str, connect_timeout_s: float) -> None:
        options = {
            "confirm_publish": True,
            "read_timeout": _ANSWER_TIMEOUT_S,
            "write_timeout": _ANSWER_TIMEOUT_S,
        }
        settings = app.connection_for_write(url, connect_timeout=connect_timeout_s, transport_options=options)
        self._connection = settings.transport.establish_connection()
        self._connection.on_blocked = self._refuse
        self._channel = self._connection.channel()
        self._known: set[str] = set()
        self.unconfirmed = False
        self.used_at = time.monotonic()

    def publish(self, queue: str, body: bytes, **properties: Any) -> None:
        """Store a message in a queue."""
        self._ensure(queue)
        message = amqp.Message(body, delivery_mode=_PERSISTENT, **properties)
        self.unconfirmed = True
        try:
            # mandatory: should the queue be gone again, the message comes back and this raises
            self._channel.basic_publish(
                message, exchange="", routing_key=queue, mandatory=True, confirm_timeout=_ANSWER_TIMEOUT_S
            )
        except MessageNacked:
            self.unconfirmed = False
            raise
        self.unconfirmed = False

    def probe(self) -> None:
        """Publish a message that no queue receives. Raises BrokerBlocked if RabbitMQ blocks publishers."""
        # RabbitMQ reports that it blocks publishers only after a publish.
        self._channel.basic_publish(
            amqp.Message(b""), exchange="", routing_key=_NO_QUEUE, confirm_timeout=_ANSWER_TIMEOUT_S
        )

    def publish_many(self, queue: str, messages: Sequence[Message], sent: set[int]) -> None:
        """Store many messages in a queue: send them all, then wait for what RabbitMQ says of each."""
        self._ensure(queue)
        # A channel of its own, whose tags count these messages from 1.
        channel = self._connection.channel()
        channel.confirm_select()
        left = dict(enumerate((index for index in range(len(messages)) if index not in sent), 1))

        def confirmed(tag: int, multiple: bool) -> None:
            for each in [each for each in left if each <= tag] if multiple else [tag]:
                sent.add(left.pop(each))

        def refused(_tag: int, _multiple: bool) -> None:
            raise MessageNacked

        channel.events["basic_ack"].add(confirmed)
        channel.events["basic_nack"].add(refused)
        self.unconfirmed = True
        for index in list(left.values()):  # the first may be confirmed while the last are sent
            body, properties = messages[index]
            message = amqp.Message(body, delivery_mode=_PERSISTENT, **properties)
            # The class's own: that of this connection's channels waits for each.
            amqp.Channel.basic_publish(channel, message, exchange="", routing_key=queue, mandatory=True)
        while left:
            self._connection.drain_events(timeout=_ANSWER_TIMEOUT_S)
        self.unconfirmed = False
        channel.close()

    def _ensure(self, queue: str) -> None:
        if queue not in self._known:
            if self.depth(queue) is None:
                self._channel.queue_declare(queue, durable=True, auto_delete=False)
            self._known.add(queue)

    def depth(self, queue: str) -> int | None:
        """Return how many messages a queue has that nobody has fetched; None if there is no such queue."""
        try:
            return int(self._channel.queue_declare(queue, passive=True).message_count)
        except NotFound:
            # It is RabbitMQ's way to close the channel with this answer.
            self._channel = self._connection.channel()
            return None

    def delete_unused(self, queue: str) -> bool:
        """Delete a queue if it is empty and has no consumer; return whether it is deleted."""
        self._known.discard(queue)
        try:
            self._channel.queue_delete(queue, if_unused=True, if_empty=True)
        except PreconditionFailed:
            self._channel = self._connection.channel()  # closed like at `depth`
            return False
        return True

    def _refuse(self, _reason: str) -> None:
        raise BrokerBlocked

    def close(self) -> None:
        """Let go of the connection, whatever state it is in."""
        self._connection.collect()


#: Lines that nobody uses right now, by process: a fork must not share them, nor close its parent's.
_idle: dict[int, deque[_Line]] = {}


def publish(queue: str, body: bytes, **properties: Any) -> None:
    """Store a message in a queue; `properties` are those of AMQP, headers as `application_headers`.

    Raises:
        SendUnconfirmed: RabbitMQ was lost on the way, or has not confirmed in time; it may have the message.
        kombu.exceptions.OperationalError: RabbitMQ can't be reached, or refuses it.
    """
    _on_a_line(lambda line: line.publish(queue, body, **properties))


def publish_many(queue: str, messages: Sequence[Message], sent: set[int]) -> None:
    """Store many messages in a queue, and note in `sent` the index of each that RabbitMQ has confirmed.

    Raises:
        SendUnconfirmed: RabbitMQ was lost on the way, or has not confirmed all in time; it may have the others too.
        kombu.exceptions.OperationalError: RabbitMQ can't be reached, or refuses one.
    """
    _on_a_line(lambda line: line.publish_many(queue, messages, sent))


def check() -> None:
    """Check whether RabbitMQ accepts messages.

    Raises:
        BrokerBlocked: it can be reached, but blocks publishers.
        kombu.exceptions.OperationalError: it can't be reached.
    """
    _on_a_line(lambda line: line.probe())


def delete_unused(queues: Sequence[str]) -> bool:
    """Delete those of the queues that are empty and have no consumer; return whether all are deleted.

    Raises:
        kombu.exceptions.OperationalError: RabbitMQ can't be reached.
    """
    return _on_a_line(lambda line: sum(line.delete_unused(queue) for queue in queues) == len(queues))


def depths(queues: Sequence[str]) -> Mapping[str, int]:
    """Return how many messages each queue has that nobody has fetched; 0 for one that isn't there.

    Raises:
        kombu.exceptions.OperationalError: RabbitMQ can't be reached.
    """
    return _on_a_line(lambda line: {queue: line.depth(queue) or 0 for queue in queues}) if queues else {}


def _on_a_line(work: Callable[[_Line], _Result]) -> _Result:
    """Do something on an idle line, and if that turns out to be dead, once more on a new one."""
    lines = _idle.setdefault(os.getpid(), deque())
    used: list[_Line] = []
    try:
        line = _idle_line(lines)
        if line is not None:
            used.append(line)
            try:
                return _use(line, lines, work)
            except (TimeoutError, BrokerBlocked):
                # The connection may be well and the broker slow: another try would take as long.
                raise
            except (AMQPError, OSError):
                _close_all(lines)
        used.append(_new_line())
        return _use(used[-1], lines, work)
    except (AMQPError, MessageNacked, OSError) as error:
        kind = SendUnconfirmed if any(each.unconfirmed for each in used) else OperationalError
        raise kind(f"RabbitMQ: {error or type(error).__name__}") from error


def _new_line() -> _Line:
    """Connect to the first node that can be reached; together they have the time that one has."""
    *others, last = load().queue_url.split(";")
    timeout_s = CONNECT_TIMEOUT_S / (len(others) + 1)
    for url in others:
        try:
            return _Line(url, timeout_s)
        except (AMQPError, OSError) as error:
            _log.info("a node of RabbitMQ can't be reached (%s); trying the next one", error)
    return _Line(last, timeout_s)


def _use(line: _Line, lines: deque[_Line], work: Callable[[_Line], _Result]) -> _Result:
    try:
        result = work(line)
    except BaseException:
        line.close()
        raise
    line.used_at = time.monotonic()
    lines.append(line)
    return result


def _idle_line(lines: deque[_Line]) -> _Line | None:
    while lines:
        try:
            line = lines.pop()
        except IndexError:
            break  # another thread was faster
        if time.monotonic() - line.used_at < _IDLE_S:
            return line
        line.close()
    return None


def _close_all(lines: deque[_Line]) -> None:
    """What one dead connection says of a broker is true of all that are as old."""
    while lines:
        try:
            lines.pop().close()
        except IndexError:
            break
