"""Reads the bytes of a request's body, decoded and whole: a body over the limit is refused, never cut."""

from __future__ import annotations

import io
import zlib
from functools import cached_property
from typing import IO, TYPE_CHECKING

from flask import Request as FlaskRequest
from flask import request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wsgi import get_content_length, get_input_stream

from api.errors import BodyTooLarge, MediaTypeWrong, RequestMalformed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: The content encodings that are known here; `x-gzip` is an old name of gzip (RFC 9110).
ENCODINGS = ("gzip", "deflate")
#: No client encodes a body more often than this.
_MOST_ENCODINGS = 3
#: For zlib: gzip or zlib, as the data say.
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
#: Some clients send bare deflate, without zlib's format around it (RFC 9110, 8.4.1.2).
_BARE_DEFLATE = -zlib.MAX_WBITS


class Request(FlaskRequest):
    """A request whose body is whole or refused.

    werkzeug ends a body that comes in chunks at the limit, and what follows is lost without an error.
    """

    @cached_property
    def stream(self) -> IO[bytes]:
        """The body as it comes."""
        most = self.max_content_length
        if most is None or not self.environ.get("wsgi.input_terminated"):
            return get_input_stream(self.environ, max_content_length=most)
        length = get_content_length(self.environ)
        if length is not None and length > most:
            raise RequestEntityTooLarge
        return io.BufferedReader(_Whole(self.environ["wsgi.input"], most, length))


class _Whole(io.RawIOBase):
    """A body that ends by itself, of at most so many bytes, and of as many as its header says."""

    def __init__(self, source: IO[bytes], most: int, length: int | None) -> None:
        self._source = source
        self._most = most
        self._length = length
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read a part. Raises RequestEntityTooLarge beyond the limit, RequestMalformed if the body ends too soon."""
        view = memoryview(buffer).cast("B")
        part = self._source.read(min(len(view), self._most - self._read + 1))
        self._read += len(part)
        if self._read > self._most:
            raise RequestEntityTooLarge
        if not part and self._length is not None and self._read < self._length:
            raise RequestMalformed(f"The body has {self._read} bytes; its Content-Length says {self._length}.")
        view[: len(part)] = part
        return len(part)


def content() -> bytes:
    """Read the body of the Flask app's request, decoded as its Content-Encoding says.

    Raises:
        MediaTypeWrong: its content encoding is not known here.
        RequestMalformed: it is not what its headers say.
        RequestEntityTooLarge: it is too long as it came.
        BodyTooLarge: it is too long when it is decoded.
    """
    raw = request.get_data(cache=False)
    return decoded(raw, request.environ.get("HTTP_CONTENT_ENCODING"), request.max_content_length or 0)


def decoded(raw: bytes, content_encoding: str | None, most_bytes: int) -> bytes:
    """Return a body decoded as its Content-Encoding says.

    Raises:
        MediaTypeWrong: the encoding is not known here.
        RequestMalformed: the body is not in that encoding.
        BodyTooLarge: it is longer than `most_bytes` when it is decoded.
    """
    for encoding in reversed(_encodings(content_encoding)) if content_encoding else ():
        raw = _decoded(raw, encoding, most_bytes)
    return raw


def refuse_encoded() -> None:
    """Raise MediaTypeWrong if the body is encoded: its parts are read as they come."""
    if _encodings(request.environ.get("HTTP_CONTENT_ENCODING") or ""):
        raise MediaTypeWrong("A body of several parts can't be encoded: send it without a Content-Encoding.")


def _encodings(header: str) -> list[str]:
    listed = header.lower().split(",")
    found = [each.strip().removeprefix("x-") for each in listed if each.strip() not in ("", "identity")]
    unknown = [each for each in found if each not in ENCODINGS]
    if unknown:
        known = " and ".join(ENCODINGS)
        raise MediaTypeWrong(f"The Content-Encoding {unknown[0][:40]!r} is not known here; {known} are.")
    if len(found) > _MOST_ENCODINGS:
        raise MediaTypeWrong(f"The body is encoded {len(found)} times; {_MOST_ENCODINGS} times is the most.")
    return found


def _decoded(raw: bytes, encoding: str, most: int) -> bytes:
    try:
        decoder, decoded = _begun(raw, encoding, most)
    except zlib.error as error:
        raise RequestMalformed(f"The body is not {encoding}: {error}.") from error
    if len(decoded) > most:
        raise BodyTooLarge(most, "The body is larger than this address takes when it is decoded.")
    if not decoder.eof or decoder.unused_data:
        raise RequestMalformed(f"The body is not {encoding}: it is cut off, or something comes after it.")
    return decoded


def _begun(raw: bytes, encoding: str, most: int) -> tuple[zlib._Decompress, bytes]:
    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        return decoder, decoder.decompress(raw, most + 1)
    except zlib.error:
        if encoding != "deflate":
            raise
        decoder = zlib.decompressobj(_BARE_DEFLATE)
        return decoder, decoder.decompress(raw, most + 1)
