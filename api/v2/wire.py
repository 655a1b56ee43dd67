"""The bytes of a request and of an answer: content encodings, and JSON with raw tensors after it."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from api.errors import RequestMalformed
from api.http.exchange import Answer, Request
from api.http.flask_app import bodies, requests
from api.http.reading import validated
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


def body(raw: bytes, request: Request) -> Body:
    """Read a request's decoded body; the header's length counts decoded bytes.

    Raises:
        RequestMalformed: it is not what its headers say.
    """
    text = request.header("HTTP_INFERENCE_HEADER_CONTENT_LENGTH")
    if text is None:
        return Body(raw, None)
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > len(raw):
        raise RequestMalformed(f"{HEADER} is {text[:40]!r}, and the decoded body has {len(raw)} bytes.")
    return Body(raw, int(text[:20]))


def document(model: type[_Body]) -> _Body:
    """Read the Flask app's request as JSON; an empty one says nothing.

    Raises:
        MediaTypeWrong, RequestMalformed, BodyTooLarge, JsonInvalid, RequestInvalid: it can't be read.
    """
    return validated(model, json_text(body(bodies.content(), requests.current()).header or b"{}"))


def answer(request: Request, content: dict[str, Any], outputs: list[Tensor], binary: frozenset[str]) -> Answer:
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
    headers = {"Content-Type": "application/octet-stream" if tail else "application/json", "Vary": "Accept-Encoding"}
    if tail:
        headers[HEADER] = str(len(header))
    return _encoded(request, Answer(200, headers, b"".join([header, *tail])))


def _encoded(request: Request, plain: Answer) -> Answer:
    accepted = parse_accept_header(request.header("HTTP_ACCEPT_ENCODING"), Accept)
    encoding = next((each for each in bodies.ENCODINGS if accepted.quality(each) > 0), None)
    # Only here: the asyncio client asks for compression everywhere and can decompress inferences alone.
    if encoding is None or len(plain.body) < _LEAST_COMPRESSED_BYTES:
        return plain
    plain.headers["Content-Encoding"] = encoding
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    plain.body = compress(plain.body, _FASTEST)
    return plain
