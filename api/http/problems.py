"""Errors as `application/problem+json` (RFC 9457): the one place that makes responses of errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge

from api.errors import ApiError, ComeBackLater, extras_of, status_of
from api.http import requests, responses
from api.http.exchange import Answer, Request
from registry.errors import RegistryError
from workers.errors import WorkerError

MEDIA_TYPE = "application/problem+json"
#: Addresses of the Open Inference Protocol, whose clients read `error`, some only in plain JSON.
_PROTOCOL = "/v2"
#: Soon enough for clients that wait, late enough for a service that restarts.
RETRY_AFTER_S = 2
_log = logging.getLogger(__name__)
_OURS = (ApiError, RegistryError, WorkerError)
_NONE: Mapping[str, Any] = {}
#: The stable codes of what Flask itself refuses, and what to do about it.
_HTTP_CODES = {
    400: ("request_malformed", "The request can't be read."),
    404: ("not_found", "There is nothing at this address; /openapi.json lists what there is."),
    405: ("method_not_allowed", "This address doesn't take this method; the Allow header lists those it takes."),
    413: ("body_too_large", "The body is larger than this address takes."),
    415: ("media_type_wrong", "The body is of a kind that this address doesn't take."),
    500: ("internal_error", "Something went wrong here; the log has it under this request id."),
}


def answer(error: Exception, request: Request) -> Answer:
    """Return the answer for an error of ours; failures of the service are logged.

    An error that is none of ours is an unexpected one, and its text is not shown.
    """
    status = status_of(error)
    if not isinstance(error, _OURS):
        _log.error("request %s failed: %r", request.request_id, error, exc_info=error)
        code, detail = _HTTP_CODES[500]
        return _answer(request, 500, code, detail, {"request_id": request.request_id})
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log_failure(error, status, request.request_id)
    found = _answer(request, status, getattr(error, "code", "internal_error"), str(error), extras_of(error))
    if isinstance(error, ComeBackLater):
        found.headers["Retry-After"] = str(error.retry_after_s)
    return found


def _answer(request: Request, status: int, code: str, detail: str, extras: Mapping[str, Any] = _NONE) -> Answer:
    """Return a problem document; `extras` never replace the standard members."""
    document = {
        **extras,
        "type": f"urn:queuecast:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
    }
    media_type = MEDIA_TYPE
    if f"{request.path}/".startswith(f"{_PROTOCOL}/"):
        document["error"], media_type = detail, "application/json"
    headers = {"Content-Type": media_type}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Answer(status, headers, json.dumps(document, default=str).encode())


def _domain_error(error: Exception) -> Response:
    return responses.of(answer(error, requests.current()))


def log_failure(error: Exception, status: int, request_id: str) -> None:
    """Log why a request fails; without a traceback in an outage, in which all requests fail."""
    cause = error.__cause__
    outage = cause is not None and status == HTTPStatus.SERVICE_UNAVAILABLE
    why = f" ({type(cause).__name__}: {str(cause).partition(chr(10))[0]})" if outage else ""
    trace = None if outage else cause
    _log.warning("request %s: %s: %s%s", request_id, type(error).__name__, error, why, exc_info=trace)


def http_error(error: HTTPException) -> Response:
    """Return the answer for what Flask itself refuses."""
    status = error.code or 500
    code, default = _HTTP_CODES.get(status, (HTTPStatus(status).name.lower(), error.description or ""))
    detail = _detail(error, default)
    current = requests.current()
    extras = {"request_id": current.request_id} if status == 500 else _NONE
    response = responses.of(_answer(current, status, code, detail, extras))
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _detail(error: HTTPException, default: str) -> str:
    if "description" in vars(error):  # more specific than the default
        return error.description or default
    if isinstance(error, RequestEntityTooLarge):
        return f"{default} It takes {request.max_content_length} bytes."
    return default


def _unexpected(error: InternalServerError) -> Response:
    # Flask has logged the traceback; the line here ties it to the response.
    _log.error("request %s failed: %r", requests.current().request_id, error.original_exception)
    return http_error(error)


def install(app: Flask) -> None:
    """Answer every error of this app as a problem document."""
    for root in _OURS:
        app.register_error_handler(root, _domain_error)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(InternalServerError, _unexpected)
