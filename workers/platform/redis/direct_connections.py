"""Connections that run scripts with little processor time: commands are written at once, and replies wake callers.

redis-py opens them, so that the URL, TLS and passwords mean what they always do. From then on, redis-py's own way (a
pool, a stream, a health check and a time-out around each step) would cost several times what the command itself does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import hiredis
import redis
from redis._parsers import _AsyncHiredisParser
from redis.asyncio.connection import AbstractConnection

from workers.platform.redis import client as redis_client
from workers.platform.redis import masters
from workers.platform.redis.masters import NotMaster

#: How often silent connections are looked for while a time-out lasts: much cheaper than a timer for each command.
_LOOKS_A_TIMEOUT = 8
_HELLO = b"".join([hiredis.pack_command(masters.HELLO)])  # type: ignore[arg-type]  # its stub allows one element
_NOT_ENOUGH_DATA = object()
_SILENT = "Nothing has moved on the connection to Redis"
LOST = "Redis closed the connection"


class DirectConnections:
    """The connections of one event loop; each runs one call at a time, and there are as many as calls at once.

    Args:
        make: returns a connection of redis-py that is still to be opened.
        demoted: called when a server turns out to be a master no longer.
    """

    def __init__(self, make: Callable[[], AbstractConnection], demoted: Callable[[], None] = lambda: None) -> None:
        self._make = make
        self._demoted = demoted
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def run(self, commands: bytes, count: int) -> list[Any]:
        """Send this many commands, and return their replies in order; a redis.RedisError is one too.

        Raises:
            NotMaster: the server is a replica; none of the commands was carried out.
            redis.ConnectionError: the connection can't be opened, or was lost on the way.
            redis.TimeoutError: nothing has moved on it for too long.
            OSError: it can't be opened.
        """
        connection = self._idle.pop() if self._idle else await self._open()
        self._busy.add(connection)
        if self._timer is None:
            self._schedule_look()
        return await connection.send(commands, count)

    def close(self) -> None:
        """Close all connections; calls that are under way fail."""
        self._is_closed = True
        for each in [*self._idle, *self._busy]:
            each.close(redis.ConnectionError(LOST))

    def leave(self) -> None:
        """Use none of the connections for another call."""
        for each in list(self._idle):
            each.close(redis.ConnectionError(LOST))
        for each in self._busy:
            each.is_left = True

    async def _open(self) -> _Connection:
        connection = _Connection(await opened(self._make), self._answered, self._lost, self._demoted)
        if self._is_closed:
            connection.close(redis.ConnectionError(LOST))
            raise redis.ConnectionError(LOST)
        return connection

    def _answered(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        if self._is_closed or connection.is_left:
            connection.close(redis.ConnectionError(LOST))
        else:
            self._idle.append(connection)

    def _lost(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _look(self) -> None:
        self._timer = None
        for each in list(self._busy):
            each.give_up_if_silent()
        if self._busy:
            self._schedule_look()

    def _schedule_look(self) -> None:
        delay_s = redis_client.ANSWER_TIMEOUT_S / _LOOKS_A_TIMEOUT
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)


async def opened(make: Callable[[], AbstractConnection]) -> AbstractConnection:
    """Open a connection of redis-py, or nothing.

    Raises:
        redis.RedisError, OSError: Redis can't be reached, or refuses it.
    """
    connection = make()
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


class DirectConnection(asyncio.Protocol):
    """A connection that is taken over from redis-py once it is open."""

    def __init__(self, opened: AbstractConnection) -> None:
        # redis-py would close them when it forgets the connection.
        writer, opened._writer, opened._reader = opened._writer, None, None  # noqa: SLF001 - tests run all of this
        if writer is None or writer.is_closing():
            raise redis.ConnectionError(LOST)
        self._writer: asyncio.StreamWriter = writer
        self._transport = writer.transport
        self._stream = self._transport.get_protocol()
        self._transport.set_protocol(self)
        self._loop = asyncio.get_running_loop()
        self._parser = hiredis.Reader(
            protocolError=redis.InvalidResponse,
            replyError=_AsyncHiredisParser.parse_error,
            notEnoughData=_NOT_ENOUGH_DATA,
        )

    def data_received(self, data: bytes) -> None:
        """Take a piece of what Redis sends."""
        try:
            self._parser.feed(data)
            while (reply := self._parser.gets()) is not _NOT_ENOUGH_DATA:
                self.replied(reply)
        except redis.InvalidResponse as error:
            self.close(redis.ConnectionError(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell of the end of the connection."""
        self._stream.connection_lost(exc)
        self.lost(redis.ConnectionError(str(exc) if exc else LOST))

    def close(self, error: redis.RedisError) -> None:
        """Close the connection, for this reason."""
        self._transport.abort()
        self.lost(error)

    def write(self, data: bytes) -> None:
        """Send; what is sent on a connection that is lost is dropped."""
        if not self._transport.is_closing():  # uvloop's would raise
            self._transport.write(data)

    def replied(self, reply: Any) -> None:
        """Take a reply; one that is an error is a redis.RedisError."""
        raise NotImplementedError

    def lost(self, error: redis.RedisError) -> None:
        """Fail what waits for this connection; called once or twice."""
        raise NotImplementedError


class _Connection(DirectConnection):
    """A connection that runs one call at a time.

    Attributes:
        is_left: whether it is closed after its call.
    """

    def __init__(
        self,
        opened: AbstractConnection,
        answered: Callable[[_Connection], None],
        lost: Callable[[_Connection], None],
        demoted: Callable[[], None],
    ) -> None:
        super().__init__(opened)
        self._on_answer = answered
        self._on_loss = lost
        self._on_demotion = demoted
        self.is_left = False
        #: When the server has said last that it is a master: redis-py has asked it.
        self._verified_at = time.monotonic()
        self._is_verifying = False
        self._answer: asyncio.Future[list[Any]] | None = None
        self._replies: list[Any] = []
        self._count = 0
        self._unsent_bytes = 0
        self._moved_at = 0.0

    def send(self, commands: bytes, count: int) -> asyncio.Future[list[Any]]:
        """Send commands; the future is their replies. If its caller is gone by then, they are dropped."""
        answer = self._loop.create_future()
        self._answer, self._replies, self._count = answer, [], count
        self._unsent_bytes, self._moved_at = 0, time.monotonic()
        if self._moved_at - self._verified_at > masters.VERIFIED_FOR_S:
            self._is_verifying = True
            commands = _HELLO + commands
        self.write(commands)
        return answer

    def give_up_if_silent(self) -> None:
        """Close it if nothing was sent or received for as long as an answer may take."""
        now, unsent_bytes = time.monotonic(), self._transport.get_write_buffer_size()
        if unsent_bytes != self._unsent_bytes:
            self._unsent_bytes, self._moved_at = unsent_bytes, now
        elif now - self._moved_at > redis_client.ANSWER_TIMEOUT_S:
            self.close(redis.TimeoutError(_SILENT))

    def data_received(self, data: bytes) -> None:
        """Take a piece of the replies."""
        self._moved_at = time.monotonic()
        super().data_received(data)

    def replied(self, reply: Any) -> None:
        """Take a reply; the last one answers the call."""
        if self._is_verifying:
            self._verify(reply)
            return
        if masters.is_demotion(reply):
            reply = NotMaster(str(reply))
            self._on_demotion()
        self._replies.append(reply)
        if self._answer is not None and len(self._replies) == self._count:
            answer, replies, self._answer, self._replies = self._answer, self._replies, None, []
            if not answer.done():
                answer.set_result(replies)
            self._on_answer(self)

    def _verify(self, reply: Any) -> None:
        self._is_verifying, self._verified_at = False, time.monotonic()
        try:
            masters.check_hello(reply)
        except NotMaster as error:
            # A replica carries out nothing that changes anything, whatever it was sent.
            self.close(error)
            self._on_demotion()

    def lost(self, error: redis.RedisError) -> None:
        """Fail the call that is under way."""
        self._on_loss(self)
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
