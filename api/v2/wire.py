"""The bytes of a request and of an answer: content encodings, and JSON with raw tensors after it."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Response, request
from pydantic import BaseModel

from api.errors import RequestMalformed
from api.http import bodies
from api.http.requests import validated
from api.strict_json import json_text
from api.v2.datatypes import DATATYPES

HEADER = "Inference-Header-Content-Length"
#: The answer in JSON; the values of `data` are lists of one datatype each.
Tensor = dict[str, Any]
_Body = TypeVar("_Body", bound=BaseModel)
#: Smaller answers are not worth it.
_LEAST_COMPRESSED_BYTES = 1_024
_FASTEST = 1


@dataclass(frozen=True)
class Body:
    """A request's body, decoded; `header_bytes` is None if all of it is JSON."""

    raw: bytes
    header_bytes: int | None

    @property
    def header(self) -> bytes:
        """The JSON."""
        return self.raw if self.header_bytes is None else self.raw[: self.header_bytes]

    @property
    def tail(self) -> memoryview:
        """The raw tensors after it."""
        return memoryview(self.raw)[len(self.raw) if self.header_bytes is None else self.header_bytes :]


def body() -> Body:
    """Read the request's body; the header's length counts decoded bytes.

    Raises:
        MediaTypeWrong: its content encoding is not known here.
        RequestMalformed: it is not what its headers say.
        RequestEntityTooLarge: it is too long, decoded or not.
    """
    raw = bodies.content()
    text = request.headers.get(HEADER)
    if text is None:
        return Body(raw, None)
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > len(raw):
        raise RequestMalformed(f"{HEADER} is {text[:40]!r}, and the decoded body has {len(raw)} bytes.")
    return Body(raw, int(text[:20]))


def document(model: type[_Body]) -> _Body:
    """Read the request's body as JSON; an empty one says nothing. Raises as `body`, and JsonInvalid, RequestInvalid."""
    return validated(model, json_text(body().header or b"{}"))


def answer(content: dict[str, Any], outputs: list[Tensor], binary: frozenset[str]) -> Response:
    """Return an inference's answer, its outputs named in `binary` as bytes after the JSON."""
    described, tail = [], []
    for each in outputs:
        if each["name"] not in binary:
            described.append(each)
            continue
        raw = DATATYPES[each["datatype"]].encode(each["data"])
        parameters = {**each.get("parameters", {}), "binary_data_size": len(raw)}
        described.append({**{k: v for k, v in each.items() if k != "data"}, "parameters": parameters})
        tail.append(raw)
    header = json.dumps({**content, "outputs": described}, allow_nan=False, separators=(",", ":")).encode()
    response = Response(mimetype="application/octet-stream" if tail else "application/json")
    if tail:
        response.headers[HEADER] = str(len(header))
    _set_encoded(response, b"".join([header, *tail]))
    return response


def _set_encoded(response: Response, content: bytes) -> None:
    response.vary.add("Accept-Encoding")
    encoding = next((each for each in bodies.ENCODINGS if request.accept_encodings.quality(each) > 0), None)
    # Only here: the asyncio client asks for compression everywhere and can decompress inferences alone.
    if encoding is None or len(content) < _LEAST_COMPRESSED_BYTES:
        response.set_data(content)
        return
    response.headers["Content-Encoding"] = encoding
    if encoding == "gzip":
        response.set_data(gzip.compress(content, _FASTEST))
    else:
        response.set_data(zlib.compress(content, _FASTEST))
