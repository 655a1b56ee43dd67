"""Decompression has a bound, in bytes and in memory, whatever the method and the content."""

from __future__ import annotations

import base64
import bz2
import importlib
import json
import lzma
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from kombu import compression

from tests.support.service.environment import forget_cached_settings
from workers import keys
from workers.engine.intake.messages import MessageUnreadable, parse
from workers.queues import envelopes, unpacking
from workers.queues.envelopes import EnvelopeUnreadable
from workers.queues.unpacking import NotUnpacked, unpacked

brotli: Any = importlib.import_module("brotli")
MEBIBYTE = 1024 * 1024
METHODS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": zlib.compress,
    "bzip2": bz2.compress,
    "lzma": lzma.compress,
    "brotli": brotli.compress,
}
BOMBS: dict[str, Callable[[], bytes]] = {
    "gzip": lambda: zlib.compress(bytes(64 * MEBIBYTE), 9),
    "bzip2": lambda: bz2.compress(bytes(64 * MEBIBYTE)),
    "lzma": lambda: lzma.compress(bytes(64 * MEBIBYTE), preset=0),
    "brotli": lambda: brotli.compress(bytes(64 * MEBIBYTE), quality=1),
}


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("QUEUECAST_MAX_BODY_BYTES", str(MEBIBYTE))
    forget_cached_settings()
    yield
    monkeypatch.undo()
    forget_cached_settings()


def message(body: bytes, method: str, **headers: Any) -> bytes:
    """A task message with a compressed body, as kombu writes it."""
    _, content_type = compression.get_encoder(method)  # type: ignore[no-untyped-call]
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-type": "application/json",
            "headers": {"task": "predict", "id": "job", "compression": content_type, **headers},
            "properties": {"body_encoding": "base64"},
        }
    ).encode()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("content", [b"", b"a", bytes(300_000), bytes(range(256)) * 1_000], ids=len)
def test_what_is_compressed_is_unpacked(method: str, content: bytes) -> None:
    assert unpacked(METHODS[method](content), method) == content


def test_noise_that_takes_many_pieces_is_unpacked() -> None:
    noise = b"".join(zlib.crc32(str(number).encode()).to_bytes(4, "big") for number in range(100_000))
    for method, compress in METHODS.items():
        assert unpacked(compress(noise), method) == noise


@pytest.mark.parametrize("method", BOMBS)
def test_a_bomb_takes_no_more_than_may_be_unpacked(_short: None, method: str) -> None:  # noqa: PT019 - no value
    bomb = BOMBS[method]()
    envelope = envelopes.decode(message(bomb, method))
    tracemalloc.start()
    try:
        with pytest.raises(EnvelopeUnreadable, match="longer than 1048576 bytes"):
            envelope.arguments()
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 8 * MEBIBYTE


def test_a_bomb_fails_the_job_whose_it_is(_short: None) -> None:  # noqa: PT019 - no value
    job = parse("tag", "adding", message(BOMBS["bzip2"](), "bzip2"))
    assert (job.job_id, job.rows) == ("job", [])
    assert "QUEUECAST_MAX_BODY_BYTES" in str(job.fault)


@pytest.mark.parametrize("given", [{}, {keys.SIGNATURE_HEADER: "short"}], ids=["unsigned", "no signature"])
def test_what_can_not_be_signed_is_not_unpacked(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    monkeypatch.setenv("QUEUECAST_MESSAGE_KEY", "k" * 32)
    forget_cached_settings()
    touched: list[Any] = []
    monkeypatch.setattr(unpacking, "pieces", touched.append)
    with pytest.raises(MessageUnreadable, match="signed"):
        parse("tag", "adding", message(b"x", "gzip", **given))
    assert touched == []
    monkeypatch.undo()
    forget_cached_settings()


@pytest.mark.parametrize("method", METHODS)
def test_what_is_cut_off_or_goes_on_is_refused(method: str) -> None:
    packed = METHODS[method](b"a" * 1_000)
    for wrong in (packed[:-1], packed[: len(packed) // 2], b"", METHODS[method](b"a" * 70_000)[:-2] + bytes(70_000)):
        with pytest.raises(NotUnpacked):
            unpacked(wrong, method)


@pytest.mark.parametrize("method", ["nothing", None, 5, ["gzip"]])
def test_a_method_that_is_not_known_is_refused(method: Any) -> None:
    with pytest.raises(NotUnpacked):
        unpacked(b"x", method)


@pytest.mark.slow
def test_what_kombu_itself_unpacks_in_a_worker_has_the_same_bound(_short: None) -> None:  # noqa: PT019 - no value
    unpacking.bound_kombu()
    for method, bomb in BOMBS.items():
        packed, content_type = compression.compress(b"a" * 1_000, method)  # type: ignore[no-untyped-call]
        assert compression.decompress(packed, content_type) == b"a" * 1_000  # type: ignore[no-untyped-call]
        with pytest.raises(NotUnpacked):
            compression.decompress(bomb(), content_type)  # type: ignore[no-untyped-call]


def test_each_method_that_kombu_knows_is_known_here() -> None:
    for method in compression.encoders():  # type: ignore[no-untyped-call]
        packed, _ = compression.compress(b"content", method)  # type: ignore[no-untyped-call]
        assert unpacked(packed, method) == b"content"
    assert set(compression._aliases) <= set(unpacking._ALIASES)
