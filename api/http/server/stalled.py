"""Ends connections whose clients stop in the middle of a request's body.

Granian gives a request to a thread as soon as its headers are there, and then waits for the body without a bound: each
such client, also one whose network is gone, would keep a thread for ever. Linux tells for each connection of this
process when it last received and sent data; on other systems stalled bodies are not given up.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.errors import RequestMalformed

_WSGIApp = Callable[..., Any]
_FDS = Path("/proc/self/fd")
#: Of the kernel's `tcp_info`: the milliseconds since something was sent, and since something came; bytes that came.
_SENT, _CAME, _BYTES = struct.Struct("=44xI"), struct.Struct("=52xI"), struct.Struct("=128xQ")
#: The longest time until a thread notices that its connection was ended.
_SOON_S = 1.0


@dataclass(slots=True, eq=False)
class _Wait:
    """A thread that waits for a part of a body. Times are monotonic."""

    client: str
    since: float
    given_up_at: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Connection:
    """A connection in the middle of a request: it has received data, and sent none since. Times are monotonic."""

    socket: socket.socket
    client: str
    came_at: float


class Bodies:
    """The bodies that threads wait for; those are given up that have been silent for longer than `silence_s`.

    A wait knows its client's address, not its connection, and behind a proxy all clients have the same address. Of the
    connections from that address that are in the middle of a request, a wait's is taken to be the one whose last data
    came nearest to the start of the wait; it is ended once it is silent for `silence_s`, which must be longer than any
    request waits for its answer.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        #: By thread.
        self._waits: dict[int, _Wait] = {}

    def watched(self, app: _WSGIApp) -> _WSGIApp:
        """Return the app with the bodies of its requests watched."""

        def watching(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
            environ["wsgi.input"] = _Body(environ, self._waits)
            return app(environ, start)

        return watching

    def give_up_stalled(self, port: int) -> int:
        """End the connection to `port` of each client that has kept a thread waiting for too long; return how many."""
        long_ago = time.monotonic() - self._silence_s
        overdue = [each for each in list(self._waits.values()) if each.since < long_ago]
        if not overdue or sys.platform != "linux":
            return 0
        with ExitStack() as sockets:
            connections = list(_in_requests(port, {each.client for each in overdue}, sockets))
            # Of all of them, also of those that aren't silent for long enough yet: else a wait whose own connection
            # lacks some milliseconds would take another one.
            pairs = [pair for pair in _pairs(overdue, connections) if pair[1].came_at < long_ago]
            return sum(_end(wait, connection) for wait, connection in pairs)


def hurry(environ: MutableMapping[str, Any], all_within_s: float) -> None:
    """Bound the time in which all of a request's body has to come; after it, reading raises RequestMalformed."""
    body = environ.get("wsgi.input")
    if isinstance(body, _Body):
        body.hurry(all_within_s)


class _Body:
    """A request's body that records when a thread waits for it."""

    def __init__(self, environ: dict[str, Any], waits: dict[int, _Wait]) -> None:
        self._body = environ["wsgi.input"]
        self._client = environ.get("REMOTE_ADDR", "")
        self._has_length = "CONTENT_LENGTH" in environ
        self._waits = waits
        #: The time by which all of it has to have come (monotonic); None while only silence counts.
        self._ends_at: float | None = None

    def hurry(self, all_within_s: float) -> None:
        """Bound the time in which all of it has to come."""
        self._ends_at = time.monotonic() + all_within_s

    def read(self, size: int = -1) -> bytes:
        """Read as files do. Raises RequestMalformed if it has stopped coming, or comes too slowly."""
        if self._ends_at is None:
            return self._waited_for(self._body.read, size)
        # Granian returns only once it has as many bytes as were asked for, which may take for ever if they trickle.
        parts = iter(lambda: self._waited_for(self._body.read, 1), b"")
        return b"".join(parts) if size < 0 else next(parts, b"") if size else b""

    def readline(self, size: int = -1) -> bytes:
        """Read a line as files do."""
        return self._waited_for(self._body.readline, size)

    def _waited_for(self, read: Callable[..., bytes], size: int) -> bytes:
        if self._ends_at is not None and self._ends_at < time.monotonic():
            raise RequestMalformed("The body comes too slowly.")
        thread = threading.get_ident()
        wait = self._waits[thread] = _Wait(self._client, time.monotonic())
        try:
            # Granian's own default reads all.
            part = read() if size < 0 else read(size)
        finally:
            del self._waits[thread]
        # Without a length, an ended connection looks as if the body had ended.
        is_cut = wait.given_up_at is not None and time.monotonic() - wait.given_up_at < _SOON_S
        if is_cut and not self._has_length and not 0 <= size <= len(part):
            raise RequestMalformed("The body has stopped coming.")
        return part


def _pairs(waits: list[_Wait], connections: list[_Connection]) -> Iterator[tuple[_Wait, _Connection]]:
    """Pair each wait with the connection it is most likely for: nearest times first, each wait and connection once."""
    possible = [(wait, each) for wait in waits for each in connections if each.client == wait.client]
    seen: set[_Wait | _Connection] = set()
    for wait, connection in sorted(possible, key=lambda pair: abs(pair[0].since - pair[1].came_at)):
        if not {wait, connection} & seen:
            seen |= {wait, connection}
            yield wait, connection


def _end(wait: _Wait, connection: _Connection) -> bool:
    wait.given_up_at = time.monotonic()
    try:
        connection.socket.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has ended meanwhile
        return False
    return True


def _in_requests(port: int, clients: set[str], sockets: ExitStack) -> list[_Connection]:
    """Return the connections of these clients that are in the middle of a request; `sockets` closes the copies."""
    described = (_described(sockets.enter_context(each), port) for each in _connections())
    return [each for each in described if each is not None and each.client in clients]


def _connections() -> Iterator[socket.socket]:
    """Yield a copy of each TCP socket of this process; the caller closes it."""
    for each in list(_FDS.iterdir()):
        try:
            copy = os.dup(int(each.name))
        except OSError:  # closed meanwhile
            continue
        try:
            found = socket.socket(fileno=copy)
        except OSError:  # no socket
            os.close(copy)
            continue
        if found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM:
            yield found
        else:
            found.close()


def _described(connection: socket.socket, port: int) -> _Connection | None:
    """Return a connection to this port with its client and times; None if it is not in the middle of a request."""
    try:
        if connection.getsockname()[1] != port:
            return None
        client = str(connection.getpeername()[0])
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES.size)
    except OSError:  # it listens, or has ended
        return None
    (sent_ms,), (came_ms,) = _SENT.unpack_from(info), _CAME.unpack_from(info)
    came = len(info) < _BYTES.size or _BYTES.unpack_from(info)[0] > 0
    if not came or sent_ms < came_ms:  # silent since it began, or since an answer
        return None
    return _Connection(connection, client, time.monotonic() - came_ms / 1000)
