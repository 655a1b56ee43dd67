"""Sends answers over Granian (RSGI), and makes those that need no app: refusals and failures."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from api.errors import ComeBackLater, extras_of, status_of
from api.http import problem_documents
from api.http.exchange import REQUEST_ID, Answer, Request
from api.http.server.environ import Environ

_Headers = list[tuple[str, str]]
_log = logging.getLogger(__name__)


class ClientGone(Exception):
    """Nobody reads this stream any more."""


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
    """Return the answer for an error of the service's own."""
    status = status_of(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return failure(environ, error)
    answer = _problem(environ, status, str(getattr(error, "code", "internal_error")), str(error), extras_of(error))
    if isinstance(error, ComeBackLater):
        answer.headers["Retry-After"] = str(error.retry_after_s)
    return answer


def failure(environ: Environ, error: Exception) -> Answer:
    """Log an error that nobody expected; return the answer for it."""
    request_id = _request_id(environ)
    _log.error("request %s failed: %r", request_id, error, exc_info=error)
    code, detail = problem_documents.HTTP_CODES[500]
    return _problem(environ, 500, code, detail, {"request_id": request_id})


def _problem(environ: Environ, status: int, code: str, detail: str, extras: dict[str, Any]) -> Answer:
    document, media_type = problem_documents.document(environ["PATH_INFO"], status, code, detail, extras)
    headers = {
        "Content-Type": media_type, REQUEST_ID: _request_id(environ), **problem_documents.headers(status)
    }  # fmt: skip
    return Answer(status, headers, json.dumps(document, default=str).encode())


def _request_id(environ: Environ) -> str:
    return environ.setdefault("queuecast.request_id", Request(environ, "none", {}, time.perf_counter()).request_id)  # type: ignore[no-any-return]
