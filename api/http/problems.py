"""Errors as `application/problem+json` (RFC 9457): the one place that makes responses of errors."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge

from api.errors import ApiError, ComeBackLater, extras_of, status_of
from api.http import problem_documents, request_ids
from registry.errors import RegistryError
from workers.errors import WorkerError

_log = logging.getLogger(__name__)


def problem(status: int, code: str, detail: str, extras: dict[str, Any] | None = None) -> Response:
    """Return the answer for an error; `extras` never replace the standard members."""
    document, media_type = problem_documents.document(request.path, status, code, detail, extras)
    response = Response(json.dumps(document, default=str), status, mimetype=media_type)
    response.headers.update(problem_documents.headers(status))
    return response


def _domain_error(error: Exception) -> Response:
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log_failure(error, status)
    code = getattr(error, "code", "internal_error")
    response = problem(status, code, str(error), extras_of(error))
    if isinstance(error, ComeBackLater):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def log_failure(error: Exception, status: int) -> None:
    """Log why a request fails; without a traceback in an outage, in which all requests fail."""
    cause = error.__cause__
    outage = cause is not None and status == HTTPStatus.SERVICE_UNAVAILABLE
    why = f" ({type(cause).__name__}: {str(cause).partition(chr(10))[0]})" if outage else ""
    trace = None if outage else cause
    _log.warning("request %s: %s: %s%s", request_ids.current(), type(error).__name__, error, why, exc_info=trace)


def http_error(error: HTTPException) -> Response:
    """Return the answer for what Flask itself refuses."""
    status = error.code or 500
    code, default = problem_documents.HTTP_CODES.get(status, (HTTPStatus(status).name.lower(), error.description or ""))
    detail = _detail(error, default)
    response = problem(status, code, detail, {"request_id": request_ids.current()} if status == 500 else None)
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
    _log.error("request %s failed: %r", request_ids.current(), error.original_exception)
    return http_error(error)


def install(app: Flask) -> None:
    """Answer every error of this app as a problem document."""
    for root in (ApiError, RegistryError, WorkerError):
        app.register_error_handler(root, _domain_error)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(InternalServerError, _unexpected)
