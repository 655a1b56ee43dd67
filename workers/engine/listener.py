"""Hearing that something was published in Redis, as cheaply as possible: as raw bytes, unparsed.

Under load every queued job is a notification, and all that matters is whose name is in it. So the
bytes are looked through as they come, which costs a hundredth of parsing them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from redis import RedisError
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 65_536
#: Silence after which the connection is asked whether it lives, and once more after which it is given up.
_SILENCE_S = 20
_PAUSE_S = 0.5
#: A name may be cut in two by a chunk's end: this much is looked at again.
_OVERLAP_BYTES = 256


class Listener:
    """Keeps a subscription, also through restarts of Redis, and hands on the bytes that arrive."""

    def __init__(
        self, client: Redis, patterns: list[str], heard: Callable[[bytes], None], connected: Callable[[], None]
    ) -> None:
        self._client = client
        self._patterns = patterns
        self._heard = heard
        self._connected = connected

    async def run(self) -> None:
        """Listen until cancelled; `connected` is called after each (re)connection.

        `heard` gets bytes in which the names of channels are, and in each message the pattern too.
        """
        while True:
            connection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                await self._listen(connection)
            except (RedisError, OSError, TimeoutError) as error:
                _log.warning("not listening to Redis (%s); trying again", error)
            finally:
                await connection.disconnect()
            await asyncio.sleep(_PAUSE_S)

    async def _listen(self, connection: AbstractConnection) -> None:
        await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_command("PSUBSCRIBE", *self._patterns)
        for _ in self._patterns:
            await connection.read_response()
        # What was published before the subscription has to be looked for.
        self._connected()
        tail = b""
        while True:
            seen = tail + await self._read(connection)
            self._heard(seen)
            tail = seen[-_OVERLAP_BYTES:]

    async def _read(self, connection: AbstractConnection) -> bytes:
        reader = connection._reader  # noqa: SLF001 - the one private name of a library; a test pins it
        if reader is None:
            raise ConnectionError("not connected")
        try:
            async with asyncio.timeout(_SILENCE_S):
                chunk = await reader.read(_CHUNK_BYTES)
        except TimeoutError:
            await connection.send_command("PING")
            async with asyncio.timeout(_SILENCE_S):
                chunk = await reader.read(_CHUNK_BYTES)
        if not chunk:
            raise ConnectionError("Redis closed the connection")
        return chunk
