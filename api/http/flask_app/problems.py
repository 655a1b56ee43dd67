"""Errors of the Flask app as problem documents: ours, and what Flask itself refuses."""

from __future__ import annotations

import logging

from flask import Flask, Response
from flask import request as flask_request
from werkzeug.exceptions import HTTPException, InternalServerError, RequestEntityTooLarge

from api.http import problem_documents
from api.http.flask_app import requests, responses

_log = logging.getLogger(__name__)


def _domain_error(error: Exception) -> Response:
    return responses.of(problem_documents.answer(error, requests.current()))


def http_error(error: HTTPException) -> Response:
    """Return the answer for what Flask itself refuses."""
    response = responses.of(problem_documents.of_status(requests.current(), error.code or 500, _detail(error)))
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _detail(error: HTTPException) -> str:
    """Return what is more specific than the text for the status; "" if nothing is."""
    if "description" in vars(error):
        return error.description or ""
    known = problem_documents.HTTP_CODES.get(error.code or 500)
    if isinstance(error, RequestEntityTooLarge) and known is not None:
        return f"{known[1]} It takes {flask_request.max_content_length} bytes."
    return "" if known is not None else error.description or ""


def _unexpected(error: InternalServerError) -> Response:
    # Flask has logged the traceback; the line here ties it to the response.
    _log.error("request %s failed: %r", requests.current().request_id, error.original_exception)
    return http_error(error)


def install(app: Flask) -> None:
    """Answer every error of this app as a problem document."""
    for root in problem_documents.OURS:
        app.register_error_handler(root, _domain_error)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(InternalServerError, _unexpected)
