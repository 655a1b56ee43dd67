"""Errors as `application/problem+json` (RFC 9457): the one place that makes answers of errors. Must not know Flask."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from api.errors import ApiError, ComeBackLater, extras_of, status_of
from api.http.exchange import Answer, Request
from registry.errors import RegistryError
from workers.errors import WorkerError

_log = logging.getLogger(__name__)
#: The roots of our own errors, whose texts are for clients.
OURS = (ApiError, RegistryError, WorkerError)
_NONE: Mapping[str, Any] = {}
MEDIA_TYPE = "application/problem+json"
#: Soon enough for clients that wait, late enough for a service that restarts.
RETRY_AFTER_S = 2
#: Addresses of the Open Inference Protocol, whose clients read `error`, some only in plain JSON.
_PROTOCOL = "/v2"
#: The stable codes of what no feature refuses, and what to do about it.
HTTP_CODES = {
    400: ("request_malformed", "The request can't be read."),
    404: ("not_found", "There is nothing at this address; /openapi.json lists what there is."),
    405: ("method_not_allowed", "This address doesn't take this method; the Allow header lists those it takes."),
    413: ("body_too_large", "The body is larger than this address takes."),
    415: ("media_type_wrong", "The body is of a kind that this address doesn't take."),
    500: ("internal_error", "Something went wrong here; the log has it under this request id."),
}


def answer(error: Exception, request: Request) -> Answer:
    """Return the answer for an error; failures of the service are logged.

    An error that is none of ours is an unexpected one, and its text is not shown.
    """
    if not isinstance(error, OURS):
        _log.error("request %s failed: %r", request.request_id, error, exc_info=error)
        return of_status(request, HTTPStatus.INTERNAL_SERVER_ERROR)
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log_failure(error, status, request.request_id)
    found = document(request, status, getattr(error, "code", "internal_error"), str(error), extras_of(error))
    if isinstance(error, ComeBackLater):
        found.headers["Retry-After"] = str(error.retry_after_s)
    return found


def of_status(request: Request, status: int, detail: str = "") -> Answer:
    """Return the answer for what no feature refuses."""
    code, known = HTTP_CODES.get(status, (HTTPStatus(status).name.lower(), ""))
    extras = {"request_id": request.request_id} if status == HTTPStatus.INTERNAL_SERVER_ERROR else _NONE
    return document(request, status, code, detail or known, extras)


def document(request: Request, status: int, code: str, detail: str, extras: Mapping[str, Any] = _NONE) -> Answer:
    """Return a problem document; `extras` never replace the standard members."""
    content = {
        **extras,
        "type": f"urn:queuecast:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
    }
    media_type = MEDIA_TYPE
    if f"{request.path}/".startswith(f"{_PROTOCOL}/"):
        content["error"], media_type = detail, "application/json"
    headers = {"Content-Type": media_type}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Answer(status, headers, json.dumps(content, default=str).encode())


def log_failure(error: Exception, status: int, request_id: str) -> None:
    """Log why a request fails; without a traceback in an outage, in which all requests fail."""
    cause = error.__cause__
    outage = cause is not None and status == HTTPStatus.SERVICE_UNAVAILABLE
    why = f" ({type(cause).__name__}: {str(cause).partition(chr(10))[0]})" if outage else ""
    trace = None if outage else cause
    _log.warning("request %s: %s: %s%s", request_id, type(error).__name__, error, why, exc_info=trace)
