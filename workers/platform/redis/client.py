"""Redis clients that fail after two seconds in which nothing moves, and the translation of their errors.

A long command or answer may take longer, as long as some of it arrives: time-outs are for each piece.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers import sentinel_url
from workers.errors import QueueStoreFull, QueueUnavailable
from workers.platform.loops import blocking
from workers.platform.redis import masters
from workers.platform.redis.masters import NotMaster
from workers.settings import load

CONNECT_TIMEOUT_S = 0.7
ANSWER_TIMEOUT_S = 1.7
#: A command is written in pieces of this size, each within `ANSWER_TIMEOUT_S`.
PIECE_BYTES = 65_536
#: What the kernel may take without having sent it: it is on its way for part of the time that an answer may take.
_SEND_BUFFER_BYTES = 256 * 1024
#: As many as a process has threads: redis-py's own limit would fail the hundred-and-first caller at once.
_MAX_CONNECTIONS = 20_000
#: How redis-py begins to say that it has no connection to send anything on.
_NOT_CONNECTED = re.compile(f"Error .*connecting to |Timeout connecting to |{masters.NOT_FOUND}")
_EARLIER_TRY = "an earlier try may have reached the server"
_OUT_OF_MEMORY = "OOM command not allowed"
UNREACHABLE = "The job queue can't be reached; nothing was stored. Try again shortly."


class _Retry(Retry):
    """Notes at an error whether one that was got over before it came when the command was on its way already."""

    def call_with_retry(self, do: Callable[[], Any], fail: Callable[..., Any], *args: Any, **named: Any) -> Any:
        earlier: list[Exception] = []

        def failed(error: Exception, *count: int) -> None:
            earlier.append(error)
            fail(error, *count)

        try:
            return super().call_with_retry(do, failed, *args, **named)
        except redis.RedisError as error:
            if any(map(may_have_arrived, earlier)):
                error.add_note(_EARLIER_TRY)
            raise


def may_have_arrived(error: BaseException) -> bool:
    """Tell whether the command that failed so may have been carried out all the same."""
    if _EARLIER_TRY in getattr(error, "__notes__", ()):
        return True
    if isinstance(error, (redis.AuthenticationError, redis.BusyLoadingError, redis.MaxConnectionsError, NotMaster)):
        return False
    lost = isinstance(error, (redis.ConnectionError, redis.TimeoutError))
    return lost and not _NOT_CONNECTED.match(str(error))


#: What Redis says while it can't do something that it can do later.
_PASSING = (
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNBLOCKED",
    "UNKILLABLE",
)
#: The same where redis-py has a class for the error, and so no longer says the word.
_PASSING_ERRORS = (
    redis.OutOfMemoryError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.NoScriptError,
    redis.exceptions.TryAgainError,
)


def refuses_for_good(error: BaseException) -> bool:
    """Whether the same command fails again until its cause is mended: a wrong key or argument, a missing right."""
    if isinstance(error, redis.DataError):
        return True
    if not isinstance(error, redis.ResponseError) or isinstance(error, _PASSING_ERRORS):
        return False
    return not masters.is_demotion(error) and not str(error).startswith(_PASSING)


def is_wrong_type(error: BaseException) -> bool:
    """Whether a command, or one of a script, met a key of another type."""
    return isinstance(error, redis.ResponseError) and "WRONGTYPE" in str(error)


def in_pieces(command: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """Yield a packed command in pieces that are each short enough to be written in time."""
    for part in command:
        if len(part) <= PIECE_BYTES:
            yield part
        else:
            view = memoryview(part)
            for start in range(0, len(part), PIECE_BYTES):
                yield view[start : start + PIECE_BYTES]


def buffer_little(connected: Any) -> None:
    """Have a socket block, and so show whether anything moves, instead of buffering megabytes."""
    if connected is not None and connected.family != socket.AF_UNIX:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


class _Connection:
    """A connection to a master, that writes long commands piece by piece.

    redis-py gives the whole of a command one time-out, and knows of masters only where there are sentinels.
    """

    #: Where the master is now; None if the URL says it.
    find_master: Callable[[], tuple[str, int]] | None = None
    #: Of a client's own kind of connections: where it was found last.
    master: tuple[str, int] | None = None
    #: When the server has said last that it is a master (s, monotonic).
    verified_at = 0.0
    #: Of a client's own kind of connections: when one of them had a server that was a master no longer.
    left_at = 0.0
    #: The replies to what was sent last.
    _replies = 0

    def send_packed_command(self, command: str | Iterable[bytes], check_health: bool = True) -> None:
        self._replies = 0
        parts = [command.encode()] if isinstance(command, str) else command
        super().send_packed_command(in_pieces(parts), check_health)  # type: ignore[misc]

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a reply. Raises NotMaster, besides what redis-py does: the server is a replica by now."""
        try:
            reply = super().read_response(*args, **options)  # type: ignore[misc]
        except redis.ResponseError as error:
            if not masters.is_demotion(error):
                raise
            self.disconnect()  # type: ignore[attr-defined]
            type(self).left_at = time.monotonic()
            raise masters.demotion(error, replies=self._replies) from error
        self._replies += 1
        return reply

    def on_connect_check_health(self, *args: Any, **options: Any) -> None:
        """Log in, and check that the server is a master."""
        super().on_connect_check_health(*args, **options)  # type: ignore[misc]
        self.verify()

    def verify(self) -> None:
        """Check that the server is a master. Raises redis.RedisError."""
        self.send_command(*masters.HELLO, check_health=False)  # type: ignore[attr-defined]
        try:
            answer = self.read_response()
        except redis.ResponseError:
            answer = None  # an older server, or a proxy
        masters.check_hello(answer)
        self.verified_at = time.monotonic()

    @property
    def is_elsewhere(self) -> bool:
        """Whether another server is the master by now."""
        return self.master is not None and (self.host, self.port) != self.master

    def _connect(self) -> Any:
        if self.find_master is not None:
            self.host, self.port = type(self).master = self.find_master()
        connected = super()._connect()  # type: ignore[misc]
        buffer_little(connected)
        return connected


class _Pool(redis.ConnectionPool):
    """Connections to a master; idle ones are asked again whether they still are before they are used."""

    def get_connection(self, *args: Any, **options: Any) -> redis.Connection:
        """Return a connection that can be used. Raises redis.RedisError."""
        connection = super().get_connection(*args, **options)
        try:
            _verify(connection)
        except BaseException:
            self.release(connection)
            raise
        return connection


def _verify(connection: Any) -> None:
    if masters.is_verified(connection.verified_at, connection.left_at) and not connection.is_elsewhere:
        return
    try:
        if not connection.is_elsewhere:
            connection.verify()
            return
    except (redis.RedisError, OSError):
        pass
    connection.disconnect()
    connection.connect()


def connect(url: str) -> redis.Redis:
    """Make a client (it connects at its first command).

    One retry, and on a refused or dropped connection only: a pooled connection that the server
    closed fails once, but a command whose answer is late must not run twice.
    """
    sentinels = sentinel_url.parse(url) if sentinel_url.is_sentinel(url) else None
    pool = _Pool.from_url(
        url if sentinels is None else sentinels.server_url,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=_Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        max_connections=_MAX_CONNECTIONS,
        protocol=2,
    )
    # TCP, TLS or a unix socket, as the URL says.
    kind = pool.connection_class = type("Connection", (_Connection, pool.connection_class), {})
    if sentinels is not None:
        asked = masters.sentinels(sentinels)
        kind.find_master = staticmethod(partial(asked.discover_master, sentinels.master_name))  # type: ignore[attr-defined]
    return redis.Redis.from_pool(pool)


def records_client() -> redis.Redis:
    """The client for job records and observed state, one a process. Raises WouldBlock where threads must not wait."""
    blocking.check()
    return _records_client()


@lru_cache(maxsize=1)
def _records_client() -> redis.Redis:
    return connect(load().redis_url)


def queue_client() -> redis.Redis:
    """The client for the queues themselves, one a process. Raises WouldBlock where threads must not wait."""
    blocking.check()
    return _queue_client()


@lru_cache(maxsize=1)
def _queue_client() -> redis.Redis:
    settings = load()
    return _records_client() if settings.queue_url == settings.redis_url else connect(settings.queue_url)


class _Translated(AbstractContextManager[None]):
    # Around each submit and each look: a generator would cost as much as several checks.

    def __init__(self, *, changes: bool) -> None:
        self._changes = changes

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            _translate(error, changes=self._changes)


_TRANSLATED = {changes: _Translated(changes=changes) for changes in (True, False)}


def translated_errors(*, changes: bool = True) -> AbstractContextManager[None]:
    """Turn what redis-py and kombu raise into `QueueUnavailable` or `QueueStoreFull`, without the driver's text.

    The message says whether something may have been stored; where nothing `changes`, it never was.
    """
    return _TRANSLATED[changes]


def _translate(error: BaseException, *, changes: bool) -> None:
    from kombu.exceptions import OperationalError

    if isinstance(error, redis.ResponseError):
        # Before 7.0 the error of a script has its code in the middle.
        if isinstance(error, redis.OutOfMemoryError) or _OUT_OF_MEMORY in str(error):
            raise QueueStoreFull from error
        raise QueueUnavailable(UNREACHABLE) from error
    if isinstance(error, (redis.RedisError, OperationalError, OSError)):
        if changes and may_have_arrived(error):
            message = "The job queue did not answer; what was asked of it may have been done. Try again shortly."
            raise QueueUnavailable(message) from error
        raise QueueUnavailable(UNREACHABLE) from error


_Item = TypeVar("_Item")


def in_parts(
    things: Sequence[_Item], bytes_of: Callable[[_Item], int], most: int, most_bytes: int
) -> Iterator[list[_Item]]:
    """Yield as many at once as may be, in their order, and at least one."""
    part: list[_Item] = []
    size_bytes = 0
    for thing in things:
        own_bytes = bytes_of(thing)
        if part and (len(part) == most or size_bytes + own_bytes > most_bytes):
            yield part
            part, size_bytes = [], 0
        part.append(thing)
        size_bytes += own_bytes
    if part:
        yield part
