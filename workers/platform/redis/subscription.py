"""A subscription to a channel of Redis: what is published is passed on in the step in which it arrives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import hiredis
import redis
from redis.asyncio.connection import AbstractConnection

from workers.platform.redis import client as redis_client
from workers.platform.redis.direct_connections import LOST, DirectConnection


class Subscription(DirectConnection):
    """One channel; its methods are called on one event loop.

    Args:
        opened: a connection of redis-py, which is taken over.
        on_message: called with each message; it must not block.

    Attributes:
        heard_at: when Redis sent something last (s, monotonic).
    """

    def __init__(self, opened: AbstractConnection, on_message: Callable[[bytes], None]) -> None:
        super().__init__(opened)
        self._on_message = on_message
        self._confirmed: asyncio.Future[None] = self._loop.create_future()
        self._error: redis.RedisError | None = None
        self._ended = asyncio.Event()
        self.heard_at = time.monotonic()

    async def begin(self, channel: str) -> None:
        """Subscribe. Raises redis.RedisError: Redis refuses, or the connection is lost or silent."""
        self.write(_packed("SUBSCRIBE", channel))
        try:
            async with asyncio.timeout(redis_client.ANSWER_TIMEOUT_S):
                await self._confirmed
        except TimeoutError as error:
            raise redis.TimeoutError("Redis does not confirm the subscription") from error

    def ping(self) -> None:
        """Have Redis send something."""
        self.write(_packed("PING"))

    async def stay(self, time_s: float) -> None:
        """Wait for this time. Raises redis.RedisError as soon as the subscription is lost."""
        try:
            async with asyncio.timeout(time_s):
                await self._ended.wait()
        except TimeoutError:
            return
        raise self._error or redis.ConnectionError(LOST)

    def end(self) -> None:
        """Close the connection."""
        self._transport.abort()

    def replied(self, reply: Any) -> None:
        """Take what Redis sends: a message, the confirmation, the answer to a ping, or an error."""
        self.heard_at = time.monotonic()
        if isinstance(reply, redis.RedisError):
            self.close(reply)
        elif reply[0] == b"message":
            self._on_message(reply[2])
        elif reply[0] == b"subscribe" and not self._confirmed.done():
            self._confirmed.set_result(None)

    def lost(self, error: redis.RedisError) -> None:
        """End all waits."""
        self._error = self._error or error
        self._ended.set()
        if not self._confirmed.done():
            self._confirmed.set_exception(error)


def _packed(*command: Any) -> bytes:
    packed: bytes = hiredis.pack_command(command)
    return packed
