"""Asynchronous clients of Redis: fast with scripts and many arguments, and without a time-out while data flows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import hiredis
import redis.asyncio
from redis._parsers import _AsyncHiredisParser  # redis-py's default parser; a test checks it
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer

from workers.platform.redis import client as redis_client
from workers.platform.redis.client import CONNECT_TIMEOUT_S, buffer_little, in_pieces
from workers.platform.redis.direct_connections import DirectConnections, opened
from workers.platform.redis.subscription import Subscription

#: Longer commands are sent by redis-py's connections, piece by piece: asyncio would copy all of it at once.
_MOST_DIRECT_BYTES = 1024 * 1024


class _ReadInPieces(_AsyncHiredisParser):
    """Reads replies with a time-out for each piece."""

    async def read_from_socket(self) -> Any:
        async with asyncio.timeout(redis_client.ANSWER_TIMEOUT_S):
            return await super().read_from_socket()  # type: ignore[no-untyped-call]


class _Connection:
    """A connection that encodes commands with hiredis, like redis-py's synchronous ones, and sends long ones in pieces.

    A script for a batch has hundreds of arguments, which redis-py's asyncio connections join one by one in Python: 0.9
    ms for 800 arguments instead of 0.15 ms.
    """

    _packer = HiredisRespSerializer()

    def pack_command(self, *arguments: Any) -> list[bytes]:
        """Return an encoded command."""
        packed: list[bytes] = self._packer.pack(*arguments)
        return packed

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Write a command, with a time-out for each piece.

        Raises:
            redis.TimeoutError: no data flowed for too long; the connection is closed.
        """
        parts: Iterable[bytes] = [command.encode() if isinstance(command, str) else command]
        if not isinstance(command, (str, bytes)):
            parts = command
        writer: asyncio.StreamWriter | None = None
        try:
            for number, piece in enumerate(in_pieces(parts)):
                if number and not self.is_connected:  # type: ignore[attr-defined]
                    raise redis.ConnectionError("the connection was closed in the middle of a command")
                writer = self._writer  # type: ignore[attr-defined]
                async with asyncio.timeout(redis_client.ANSWER_TIMEOUT_S):
                    await super().send_packed_command([piece], check_health and not number)  # type: ignore[misc]
        except TimeoutError as error:
            if writer is not None:
                # It is closed, but would wait for ever to send its buffer.
                writer.transport.abort()
            raise redis.TimeoutError("Timeout writing to socket") from error

    async def _connect(self) -> None:
        await super()._connect()  # type: ignore[misc]
        writer: asyncio.StreamWriter | None = self._writer  # type: ignore[attr-defined]
        buffer_little(writer and writer.get_extra_info("socket"))


class Client(redis.asyncio.Redis):
    """Runs scripts by their digest on connections of its own, and everything else as redis-py does."""

    _direct: DirectConnections

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command. Raises as redis-py does."""
        if args[0] != "EVALSHA":
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        [reply] = await self.run_scripts([args])
        if isinstance(reply, redis.RedisError):
            raise reply
        return reply

    async def run_scripts(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Run EVALSHA commands in one round trip; return their replies, of which each may be a redis.RedisError.

        Raises:
            redis.RedisError, OSError: the connection is lost, or can't be opened; any of them may have been run.
        """
        try:
            packed = b"".join([hiredis.pack_command(tuple(each)) for each in commands])
        except TypeError as error:
            raise redis.DataError(str(error)) from error
        if len(packed) <= _MOST_DIRECT_BYTES:
            return await self._direct.run(packed, len(commands))
        pipeline = self.pipeline(transaction=False)
        for each in commands:
            pipeline.execute_command(*each)
        return await pipeline.execute(raise_on_error=False)

    async def subscribe(self, channel: str, on_message: Callable[[bytes], None]) -> Subscription:
        """Return a subscription, which passes messages on until it is ended or lost.

        Raises:
            redis.RedisError, OSError: Redis can't be reached, or refuses.
        """
        subscription = Subscription(await opened(self.connection_pool.make_connection), on_message)
        try:
            await subscription.begin(channel)
        except BaseException:
            subscription.end()
            raise
        return subscription

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections."""
        self._direct.close()
        await super().aclose(close_connection_pool)


def connect(url: str) -> Client:
    """Return a client that doesn't retry failed commands; callers do."""
    client = cast(
        "Client",
        Client.from_url(
            url,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            # Applies to a whole command or reply; here each piece has its own time-out.
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
            parser_class=_ReadInPieces,
            protocol=2,
        ),
    )
    pool = client.connection_pool
    # The URL selects TCP, TLS or a unix socket.
    pool.connection_class = type("Connection", (_Connection, pool.connection_class), {})
    client._direct = DirectConnections(pool.make_connection)  # noqa: SLF001 - its own
    return client
