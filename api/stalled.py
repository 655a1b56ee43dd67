"""Clients that stop in the middle of a request's body.

Granian gives a request to a thread as soon as its headers are there, and then waits for the body without a bound: each
such client, also one whose network is gone, would keep a thread for ever. Linux tells of each connection of this
process how long nothing has come; elsewhere nothing is done about them.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_WSGIApp = Callable[..., Any]
_FDS = Path("/proc/self/fd")
#: Where the kernel's `tcp_info` has the milliseconds since something came.
_LAST_CAME = struct.Struct("=52xI")


class Bodies:
    """The bodies that threads wait for; those are given up that have been silent for longer than `silence_s`.

    Which connection a body comes from is not known, only its client's address. So it has to be longer than any
    answer is waited for: the other silent connections of that client are ended too.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        #: Thread -> since when it waits (monotonic), and for whom.
        self._waits: dict[int, tuple[float, str]] = {}

    def watched(self, app: _WSGIApp) -> _WSGIApp:
        """Return the app with the bodies of its requests watched."""

        def watching(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
            environ["wsgi.input"] = _Body(environ["wsgi.input"], self._waits, environ.get("REMOTE_ADDR", ""))
            return app(environ, start)

        return watching

    def give_up_stalled(self, port: int) -> int:
        """End the silent connections to `port` of clients that have kept a thread waiting; return how many."""
        long_ago = time.monotonic() - self._silence_s
        clients = {client for since, client in list(self._waits.values()) if since < long_ago}
        if not clients or sys.platform != "linux":
            return 0
        stalled = 0
        for connection in _connections():
            if _client_of(connection, port) in clients and _silent_s(connection) > self._silence_s:
                connection.shutdown(socket.SHUT_RDWR)
                stalled += 1
        return stalled


class _Body:
    """A request's body that says when somebody waits for it."""

    def __init__(self, body: Any, waits: dict[int, tuple[float, str]], client: str) -> None:
        self._body = body
        self._waits = waits
        self._client = client

    def read(self, *size: int) -> bytes:
        """Read as files do."""
        return self._waited_for(self._body.read, *size)

    def readline(self, *size: int) -> bytes:
        """Read a line as files do."""
        return self._waited_for(self._body.readline, *size)

    def _waited_for(self, read: Callable[..., bytes], *size: int) -> bytes:
        thread = threading.get_ident()
        self._waits[thread] = (time.monotonic(), self._client)
        try:
            return read(*size)
        finally:
            del self._waits[thread]


def _connections() -> Iterator[socket.socket]:
    """The TCP sockets of this process, each a copy that is closed again."""
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
        with found:
            if found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM:
                yield found


def _client_of(connection: socket.socket, port: int) -> str | None:
    try:
        return str(connection.getpeername()[0]) if connection.getsockname()[1] == port else None
    except OSError:  # it listens, or has ended
        return None


def _silent_s(connection: socket.socket) -> float:
    (silent_ms,) = _LAST_CAME.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_CAME.size))
    return float(silent_ms) / 1000
