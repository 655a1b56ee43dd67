"""The frames between a worker and its hosts: four bytes of length (big-endian), then JSON.

JSON and never pickle: data from a model's process must not be able to run code in the worker.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # A host has no event loop: it doesn't load asyncio.
    from asyncio import StreamReader

#: The version of everything that a worker and its hosts send to each other. The forkserver begins with it.
PROTOCOL = 1
#: Limit on an answer. A worker has many hosts, but the memory of one process.
LARGEST_ANSWER_BYTES = 1 << 29
_LENGTH = struct.Struct(">I")
_LARGEST_BYTES = (1 << 32) - 1
# Shared, because constructing an encoder costs more than encoding a small document.
_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


def encode(document: Any) -> bytes:
    """Return a frame. Raises as `to_json` and `framed` do."""
    return framed(to_json(document))


def to_json(document: Any) -> bytes:
    """Return a document as JSON.

    Raises:
        ValueError: it holds NaN, infinity, or text that is not Unicode.
        TypeError: it holds an object that is not JSON-serializable.
    """
    return _encode(document).encode()


def framed(content: bytes) -> bytes:
    """Return the frame of a JSON text. Raises ValueError if it is too large for a frame."""
    if len(content) > _LARGEST_BYTES:
        raise ValueError(f"a frame holds at most {_LARGEST_BYTES} bytes; this document has {len(content)}")
    return _LENGTH.pack(len(content)) + content


def receive(channel: socket.socket) -> bytearray:
    """Return the next document from a blocking socket, as JSON.

    Raises:
        EOFError: the other side has closed it.
    """
    (length,) = _LENGTH.unpack(_receive_exactly(channel, _LENGTH.size))
    return _receive_exactly(channel, length)


async def read(reader: StreamReader) -> bytes:
    """Return the next document from a stream, as JSON.

    Raises:
        asyncio.IncompleteReadError: the other side has closed it.
        ValueError: the frame is too large.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > LARGEST_ANSWER_BYTES:
        raise ValueError(f"a frame of {length} bytes, more than {LARGEST_ANSWER_BYTES}")
    return await reader.readexactly(length)


def _receive_exactly(channel: socket.socket, size_bytes: int) -> bytearray:
    content = bytearray(size_bytes)
    view = memoryview(content)
    while view:
        received = channel.recv_into(view)
        if not received:
            raise EOFError("the channel was closed")
        view = view[received:]
    return content
