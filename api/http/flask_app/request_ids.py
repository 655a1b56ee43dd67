"""Every response carries `X-Request-ID`: the caller's own, or a new one."""

from __future__ import annotations

from flask import Flask, Response

from api.http.exchange import REQUEST_ID
from api.http.flask_app import requests


def current() -> str:
    """Return the id of the request that is being answered."""
    return requests.current().request_id


def _stamp(response: Response) -> Response:
    response.headers[REQUEST_ID] = current()
    return response


def install(app: Flask) -> None:
    """Stamp every response of this app, errors too."""
    app.after_request(_stamp)
