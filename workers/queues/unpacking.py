"""Unpacking compressed bodies in pieces, so that a few bytes can't become a gigabyte in this process.

Knows the methods that kombu registers, by the same names. Only here is anything of a message decompressed.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from workers.platform.texts import short_repr
from workers.settings import load

_PIECE_BYTES = 65_536
#: What xz at its highest level takes is 65 MiB; a header can ask for 4 GiB.
_LZMA_MEMORY_BYTES = 128 * 1024 * 1024


class NotUnpacked(Exception):
    """A compressed body is damaged, too large, or compressed with what is not known here."""


class _Decoder(Protocol):
    """One stream, as the decompressors of `bz2`, `lzma` and `zstd` are."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Zlib:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj()
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        piece = self._stream.decompress(data or self._stream.unconsumed_tail, max_length)
        # What was cut off for the limit may be within zlib, with no input left.
        self.needs_input = not self._stream.unconsumed_tail and len(piece) < max_length
        return piece


class _Brotli:
    def __init__(self) -> None:
        brotli = importlib.import_module("brotli")
        self._stream: Any = brotli.Decompressor()
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._stream.is_finished())

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        piece: bytes = self._stream.process(data, output_buffer_limit=max_length)
        self.needs_input = self._stream.can_accept_more_data() and len(piece) < max_length
        return piece


def _lzma() -> _Decoder:
    return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)


def _zstd() -> _Decoder:
    decoder: _Decoder = importlib.import_module("backports.zstd").ZstdDecompressor()
    return decoder


_DECODERS: dict[str, Callable[[], _Decoder]] = {
    "application/x-gzip": _Zlib,
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": _lzma,
    "application/x-brotli": _Brotli,
    "application/zstd": _zstd,
}
_ALIASES = {
    "gzip": "application/x-gzip",
    "zlib": "application/x-gzip",
    "bzip2": "application/x-bz2",
    "bzip": "application/x-bz2",
    "lzma": "application/x-lzma",
    "xz": "application/x-lzma",
    "brotli": "application/x-brotli",
    "zstd": "application/zstd",
    "zstandard": "application/zstd",
}


def unpacked(body: Any, method: Any) -> bytes:
    """Return a body as it was before it was compressed. Raises NotUnpacked."""
    return b"".join(pieces(body, method))


def pieces(body: Any, method: Any) -> Iterator[bytes]:
    """Yield what a compressed body says, in pieces, of all together no more than QUEUECAST_MAX_BODY_BYTES.

    Raises:
        NotUnpacked: it is longer, damaged, more than one stream, or compressed with what is not known here.
    """
    most_bytes, length = load().max_body_bytes, 0
    for piece in _pieces(body, method):
        length += len(piece)
        if length > most_bytes:
            raise NotUnpacked(f"it is longer than {most_bytes} bytes (QUEUECAST_MAX_BODY_BYTES)")
        yield piece


def bound_kombu() -> None:
    """Have kombu unpack with the same bounds in this process, which receives messages through Celery too."""
    from kombu import compression

    for method in compression.encoders():  # type: ignore[no-untyped-call]
        encoder, _ = compression.get_encoder(method)  # type: ignore[no-untyped-call]
        compression.register(encoder, lambda body, method=method: unpacked(body, method), method)  # type: ignore[no-untyped-call]


def _pieces(body: Any, method: Any) -> Iterator[bytes]:
    try:
        decoder = _DECODERS[_ALIASES.get(method, method)]()
        at = 0
        while at < len(body) and not decoder.eof:
            yield from _of_chunk(decoder, body[at : at + _PIECE_BYTES])
            at += _PIECE_BYTES
    except Exception as error:  # each of the compression libraries has errors of its own
        raise NotUnpacked(f"it can't be decompressed: {short_repr(error)}") from error
    if not decoder.eof or at < len(body):
        raise NotUnpacked("it can't be decompressed: it is cut off, or something follows its end")


def _of_chunk(decoder: _Decoder, chunk: bytes) -> Iterator[bytes]:
    """Yield what one chunk of input unpacks to; chunks, because what is left of the input is copied with each piece."""
    while True:
        piece = decoder.decompress(chunk, _PIECE_BYTES)
        chunk = b""
        yield piece
        if decoder.eof or decoder.needs_input or not piece:
            return
