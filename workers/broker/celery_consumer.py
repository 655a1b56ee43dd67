"""Celery's consumer, changed to survive the loss of Redis while it holds unacknowledged messages.

Workers and the background process use it. It knows nothing of jobs: the engine fetches those itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer
from kombu.transport import redis


class CeleryConsumer(Consumer):  # type: ignore[misc, unused-ignore]
    """Returns the messages that a lost connection held to their queues once there is a new connection.

    kombu tries to return them while it closes the lost connection, which can't succeed. Celery closes the connection
    twice; the second time kombu raises an error that ends the process. And kombu would deliver the messages again only
    after an hour.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._held_tags: list[str] = []
        super().__init__(*args, **kwargs)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Remember the tags of the messages that the lost connection held, before Celery closes it."""
        for channel in _redis_channels(self.connection):
            channel.do_restore = False
            # Acknowledged messages are no longer in Redis: restoring them does nothing.
            self._held_tags += channel.qos._delivered  # noqa: SLF001 - there is no public name
        super().on_connection_error_after_connected(exc)

    def connect(self) -> Any:
        """Return a new connection, once the messages of the lost one are back in their queues.

        Raises:
            redis.ConnectionError: this connection is lost too; Celery tries again.
        """
        connection = super().connect()
        while self._held_tags:
            connection.default_channel.qos.restore_by_tag(self._held_tags[-1])
            self._held_tags.pop()
        connection.info = partial(_shown, connection.info)
        return connection


def _shown(info: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `celery inspect stats` and Flower show of a connection: not how it speaks to sentinels.

    That has their password, which Celery doesn't hide, and what JSON can't say: there would be no answer at all.
    """
    found = info()
    options = {name: value for name, value in found["transport_options"].items() if name != "sentinel_kwargs"}
    return {**found, "transport_options": options}


def _redis_channels(connection: Any) -> list[redis.Channel]:
    """Return the open channels of a kombu connection; none if its broker is RabbitMQ."""
    return [each for each in getattr(connection.transport, "channels", ()) if isinstance(each, redis.Channel)]
