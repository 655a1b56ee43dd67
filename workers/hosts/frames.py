"""The frames between a worker and its hosts: four bytes of length (big-endian), then JSON.

JSON and never pickle: what a model's process sends must not be able to run code in the worker.
"""

from __future__ import annotations

import json
import socket
import struct
from asyncio import StreamReader
from typing import Any

#: What a worker reads of a host; it has many, and the memory of one process.
LARGEST_ANSWER_BYTES = 1 << 29
_LENGTH = struct.Struct(">I")
_LARGEST_BYTES = (1 << 32) - 1
# One for all: making one costs more than to encode a small document.
_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


def encode(document: Any) -> bytes:
    """Return a frame. Raises as `to_json` and `framed` do."""
    return framed(to_json(document))


def to_json(document: Any) -> bytes:
    """Return a document as JSON.

    Raises:
        ValueError: it holds NaN, infinity, or text that is not Unicode.
        TypeError: it holds something that JSON can't say.
    """
    return _encode(document).encode()


def framed(content: bytes) -> bytes:
    """Return the frame of a document that is JSON already. Raises ValueError if it is larger than a frame can be."""
    if len(content) > _LARGEST_BYTES:
        raise ValueError(f"a frame holds at most {_LARGEST_BYTES} bytes; this document has {len(content)}")
    return _LENGTH.pack(len(content)) + content


def receive(channel: socket.socket) -> Any:
    """Return the next document from a blocking socket.

    Raises:
        EOFError: the other side has closed it.
    """
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
    return json.loads(_exactly(channel, length))


async def read(reader: StreamReader) -> bytes:
    """Return the next document from a stream, as JSON.

    Raises:
        asyncio.IncompleteReadError: the other side has closed it.
        ValueError: what it sent is larger than a frame may be.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > LARGEST_ANSWER_BYTES:
        raise ValueError(f"a frame of {length} bytes, more than {LARGEST_ANSWER_BYTES}")
    return await reader.readexactly(length)


def _exactly(channel: socket.socket, size_bytes: int) -> bytearray:
    content = bytearray(size_bytes)
    view = memoryview(content)
    while view:
        received = channel.recv_into(view)
        if not received:
            raise EOFError("the channel was closed")
        view = view[received:]
    return content
