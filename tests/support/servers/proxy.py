"""A TCP proxy on loopback that can hold up, or cut, what goes through it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65_536


class Proxy:
    """Forwards to a port of this machine; a context manager that runs it in a thread of its own.

    Args:
        to_port: where it forwards to.
        tls: what clients have to speak; plain TCP by default.
        bytes_per_s: how fast each direction of a connection is; as fast as it can be by default.

    Attributes:
        port: where it listens.
        bytes_per_s: as above; may be changed if it was given.
        delay_s: how long each piece is held up, in both directions.
        to_port: as above; another one is for connections from then on.
    """

    def __init__(self, to_port: int, tls: ssl.SSLContext | None = None, bytes_per_s: float | None = None) -> None:
        self.delay_s = 0.0
        self.to_port = to_port
        self._tls = tls
        self.bytes_per_s = bytes_per_s
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._connections: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)
        self.port: int = server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def stall(self) -> None:
        """Forward nothing from now on, without a word to either side: a cable that was pulled."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def resume(self) -> None:
        """Forward again, also what was held up."""
        self._loop.call_soon_threadsafe(self._open.set)

    def cut(self) -> None:
        """Reset every connection."""
        self._loop.call_soon_threadsafe(self._reset)

    async def _serve(self) -> asyncio.Server:
        self._open.set()
        listening = socket.create_server(("127.0.0.1", 0))
        if self.bytes_per_s:
            # A slow link holds little, and so is felt at once by who sends.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK_BYTES)
        self._server = await asyncio.start_server(self._connected, sock=listening, ssl=self._tls)
        return self._server

    async def _end(self) -> None:
        self._server.close()
        self._reset()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
        except OSError:
            writer.close()
            return
        self._connections |= {writer, there_writer}
        try:
            await asyncio.gather(self._forward(reader, there_writer), self._forward(there_reader, writer))
        finally:
            self._connections -= {writer, there_writer}

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.bytes_per_s:
                    await asyncio.sleep(len(chunk) / self.bytes_per_s)
                await self._open.wait()
                writer.write(chunk)
                await writer.drain()
        writer.close()

    def _reset(self) -> None:
        for writer in self._connections:
            writer.transport.abort()
