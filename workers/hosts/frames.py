"""The frames between a worker and its hosts: four bytes of length (big-endian), then JSON.

JSON and never pickle: what a model's process sends must not be able to run code in the worker.
"""

from __future__ import annotations

import json
import socket
import struct
from asyncio import StreamReader
from typing import Any

_LENGTH = struct.Struct(">I")


def encode(document: Any) -> bytes:
    """Return a frame.

    Raises:
        ValueError: the document holds NaN or infinity.
        TypeError: it holds something that JSON can't say.
    """
    content = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    return _LENGTH.pack(len(content)) + content


def receive(channel: socket.socket) -> Any:
    """Return the next document from a blocking socket.

    Raises:
        EOFError: the other side has closed it.
    """
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
    return json.loads(_exactly(channel, length))


async def read(reader: StreamReader) -> Any:
    """Return the next document from a stream.

    Raises:
        asyncio.IncompleteReadError: the other side has closed it.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return json.loads(await reader.readexactly(length))


def _exactly(channel: socket.socket, size_bytes: int) -> bytearray:
    content = bytearray(size_bytes)
    view = memoryview(content)
    while view:
        received = channel.recv_into(view)
        if not received:
            raise EOFError("the channel was closed")
        view = view[received:]
    return content
