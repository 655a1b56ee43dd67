"""Reads the requests of the Flask app: JSON bodies, queries and headers; must not know models or jobs."""

from __future__ import annotations

import time
from typing import TypeVar

from flask import g
from flask import request as flask_request
from pydantic import BaseModel

from api.http import reading
from api.http.exchange import NO_ROUTE, Request
from api.http.flask_app import bodies

_Body = TypeVar("_Body", bound=BaseModel)


def current() -> Request:
    """Return the request that is being answered."""
    if "exchange" not in g:
        rule = flask_request.url_rule
        route, arguments = (NO_ROUTE, {}) if rule is None else (rule.rule, flask_request.view_args or {})
        g.exchange = Request(flask_request.environ, route, arguments, time.perf_counter())
    found = g.exchange
    assert isinstance(found, Request)  # noqa: S101 - narrows the type
    return found


def body(model: type[_Body]) -> _Body:
    """Read the request's body as a JSON object. Raises JsonInvalid, RequestInvalid."""
    return reading.json_body(bodies.content(), model)


def query(model: type[_Body]) -> _Body:
    """Read the query string, as `reading.parameters`. Raises RequestInvalid."""
    return reading.parameters(current(), model)


def prefer_wait_s(max_wait_s: float) -> float | None:
    """Return the seconds of `Prefer: wait=N`, as `reading.prefer_wait_s`."""
    return reading.prefer_wait_s(current(), max_wait_s)
