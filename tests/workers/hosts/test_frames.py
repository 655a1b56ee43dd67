"""Frames between a worker and its hosts: whole documents, or a defined error."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from workers.hosts import frames

Receiver = Callable[[socket.socket], Any]


def received_by_a_host(channel: socket.socket) -> Any:
    return json.loads(frames.receive(channel))


def read_by_a_worker(channel: socket.socket) -> Any:
    async def read() -> Any:
        reader, writer = await asyncio.open_unix_connection(sock=channel.dup())
        try:
            return json.loads(await frames.read(reader))
        finally:
            writer.close()

    return asyncio.run(read())


both_sides = pytest.mark.parametrize("receiver", [received_by_a_host, read_by_a_worker])


@contextmanager
def sent(*pieces: bytes) -> Iterator[socket.socket]:
    """The other end of a channel through which these bytes come, each piece by itself, and that is closed then."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        with ours:
            for piece in pieces:
                ours.sendall(piece)

    sender = threading.Thread(target=send)
    sender.start()
    with theirs:
        yield theirs
    sender.join()


@both_sides
@pytest.mark.parametrize(
    "document",
    [
        None,
        0,
        "",
        [],
        {},
        {"rows": [1.5, -2, True, None, "text"]},
        "ü € \N{GRINNING FACE} \0 \u2028",
        1e-300,
        2**63,
        ["x" * 65_535],
        ["x" * (1 << 20)] * 6,
        [list(range(1_000))] * 300,
    ],
    ids=lambda document: f"{len(json.dumps(document))} bytes",
)
def test_document_arrives_as_it_was(receiver: Receiver, document: Any) -> None:
    with sent(frames.encode(document)) as channel:
        assert receiver(channel) == document


@both_sides
def test_document_that_comes_in_pieces(receiver: Receiver) -> None:
    frame = frames.encode({"rows": ["x" * 50]})
    with sent(*(frame[at : at + 1] for at in range(len(frame)))) as channel:
        assert receiver(channel) == {"rows": ["x" * 50]}


def test_documents_follow_one_another() -> None:
    with sent(frames.encode(1) + frames.encode([2]), frames.encode("3")) as channel:
        assert [json.loads(frames.receive(channel)) for _ in range(3)] == [1, [2], "3"]
        with pytest.raises(EOFError):
            frames.receive(channel)


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 5, 20])
def test_channel_that_is_closed_within_a_frame(cut: int) -> None:
    frame = frames.encode(["a document that does not arrive"])
    with sent(frame[:cut]) as channel, pytest.raises(EOFError):
        frames.receive(channel)
    with sent(frame[:cut]) as channel, pytest.raises(asyncio.IncompleteReadError):
        read_by_a_worker(channel)


@pytest.mark.parametrize("content", [b"", b"oops", b"{", b'"\xff"', b"[1] 2", b"\xff\xfe\x00"])
def test_content_that_is_not_json(content: bytes) -> None:
    with sent(frames.framed(content)) as channel, pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        received_by_a_host(channel)


def test_worker_does_not_read_what_is_too_large() -> None:
    with (
        sent(struct.pack(">I", frames.LARGEST_ANSWER_BYTES + 1)) as channel,
        pytest.raises(ValueError, match="a frame of 536870913 bytes, more than 536870912"),
    ):
        read_by_a_worker(channel)


def test_worker_survives_a_document_that_is_nested_too_deeply() -> None:
    with sent(frames.framed(b"[" * 100_000 + b"]" * 100_000)) as channel, pytest.raises(RecursionError):
        read_by_a_worker(channel)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "half \ud800", {"\udc00": 1}])
def test_value_that_json_has_no_word_for_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        frames.encode(["before", value])


@pytest.mark.parametrize("value", [b"bytes", {1}, object(), 1j])
def test_object_that_json_has_no_word_for_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        frames.encode({"value": value})


def test_frame_that_four_bytes_can_not_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_LARGEST_BYTES", 6)
    assert frames.encode("four") == b'\0\0\0\6"four"'
    with pytest.raises(ValueError, match="at most 6 bytes; this document has 7"):
        frames.encode("fives")
