"""Servers on loopback that webhooks are sent to, and that answer what a test wants, byte for byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

#: What becomes of a connection once the request is read; None if it isn't to be read at all.
Behaviour = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Request:
    """What was received; the names of headers in lower case."""

    line: str
    headers: Mapping[str, str]
    body: bytes


def answering(answer: bytes) -> Behaviour:
    """Send these bytes and close."""
    return lambda connection: connection.sendall(answer)


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return an answer as it is sent; `_` in a header's name is `-`."""
    lines = [f"HTTP/1.1 {status} Something", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Receiver:
    """Accepts connections, reads a request from each, and behaves as it was told; a context manager.

    Attributes:
        port: where it listens.
        connections: how many were accepted.
        requests: what was received.
        names: the names that TLS clients asked for.
        ended: set when it is over, so that a behaviour that goes on for ever knows.
    """

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        reads: bool = True,
    ) -> None:
        self.connections = 0
        self.requests: list[Request] = []
        self.names: list[str | None] = []
        self.ended = threading.Event()
        self._behaviour = behaviour or answering(http(200, b"thanks"))
        self._tls = tls
        self._reads = reads
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._server = socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET
        )
        self.port: int = self._server.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            connection.settimeout(5)
            if self._tls is not None:
                connection = stack.enter_context(self._tls.wrap_socket(connection, server_side=True))
            if self._reads:
                self.requests.append(_read(connection))
            self._behaviour(connection)


def _read(connection: socket.socket) -> Request:
    with connection.makefile("rb") as reader:
        line = reader.readline().decode("latin-1").rstrip()
        headers = dict(_headers(iter(reader.readline, b"\r\n")))
        return Request(line, headers, reader.read(int(headers.get("content-length", "0"))))


def _headers(lines: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        yield name.lower(), value.strip()
