"""Sends answers over Granian (RSGI), and makes those that need no app: refusals and failures."""

from __future__ import annotations

import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from api.http import problem_documents
from api.http.exchange import NO_ROUTE, REQUEST_ID, Answer, Request
from api.http.server.environ import Environ

_Headers = list[tuple[str, str]]
#: Where a request's environment has the request of a refusal.
_KEY = "queuecast.refused"


class ClientGone(Exception):
    """The client has closed its connection."""


def has_no_body(method: str, status: int) -> bool:
    """Tell whether an answer ends with its headers."""
    return method == "HEAD" or status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


def with_length(headers: Iterable[tuple[str, str]], length: int) -> _Headers:
    """Return the headers with the length of the body."""
    return [
        *((name, value) for name, value in headers if name.lower() != "content-length"),
        ("Content-Length", str(length)),
    ]


def send_plain(proto: Any, method: str, answer: Answer) -> None:
    """Send an answer that is no stream."""
    headers = answer.headers.items()
    if not has_no_body(method, answer.status):
        proto.response_bytes(answer.status, with_length(headers, len(answer.body)), answer.body)
    elif method == "HEAD" and answer.body:
        proto.response_empty(answer.status, with_length(headers, len(answer.body)))
    else:
        proto.response_empty(answer.status, list(headers))


async def send(transport: Any, part: bytes) -> None:
    """Send a part of a stream. Raises ClientGone.

    Granian takes it at once, however much the client has still to read: streams must be short by themselves.
    """
    try:
        await transport.send_bytes(part)
    except ProtocolClosed:
        raise ClientGone from None


def refusal(environ: Environ, error: Exception) -> Answer:
    """Return the answer for an error. An unexpected error is logged, and its text is not shown."""
    request = refused(environ)
    answer = problem_documents.answer(error, request)
    answer.headers[REQUEST_ID] = request.request_id
    return answer


def refused(environ: Environ) -> Request:
    """Return the request that is answered with a refusal: always the same one, with its id."""
    found: Request = environ.get(_KEY) or environ.setdefault(_KEY, Request(environ, NO_ROUTE, {}, time.perf_counter()))
    return found
