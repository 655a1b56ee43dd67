"""What a publisher says of a message when RabbitMQ is lost: refused, or perhaps there."""

from __future__ import annotations

import os
from collections import deque

import pytest
from amqp.exceptions import MessageNacked
from kombu.exceptions import OperationalError

from workers.broker import rabbitmq
from workers.broker.rabbitmq import SendUnconfirmed


class Line:
    """A connection that is lost at the first thing that is done over it."""

    def __init__(self, error: Exception, *, unconfirmed: bool) -> None:
        self.unconfirmed, self.used_at = unconfirmed, float("inf")
        self._error = error

    def publish(self, *_: object) -> None:
        raise self._error

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("idle", "new", "kind"),
    [
        (None, ConnectionRefusedError(), OperationalError),
        (None, Line(TimeoutError(), unconfirmed=True), SendUnconfirmed),
        (None, Line(TimeoutError(), unconfirmed=False), OperationalError),
        (None, Line(MessageNacked(), unconfirmed=False), OperationalError),
        (Line(ConnectionResetError(), unconfirmed=True), ConnectionRefusedError(), SendUnconfirmed),
        (Line(ConnectionResetError(), unconfirmed=False), ConnectionRefusedError(), OperationalError),
    ],
)
def test_only_what_was_surely_not_sent_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, idle: Line | None, new: Line | Exception, kind: type[Exception]
) -> None:
    def connect() -> Line:
        if isinstance(new, Exception):
            raise new
        return new

    monkeypatch.setattr(rabbitmq, "_idle", {os.getpid(): deque([idle] if idle else [])})
    monkeypatch.setattr(rabbitmq, "_new_line", connect)
    with pytest.raises(OperationalError) as caught:
        rabbitmq.publish("queue", b"body")
    assert type(caught.value) is kind
