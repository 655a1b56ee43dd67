"""Which pages of other sites may call the API from a browser (CORS, after the Fetch standard); none by default.

No response allows credentials: a page sends its API key in `Authorization`, and the console's cookie is for the
console alone. No other site may use the console.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response
from flask import request as flask_request

from api.http.exchange import Request
from api.http.flask_app import requests
from api.process import services
from api.settings import ApiSettings

#: What a page may send besides what every page may.
_ALLOWED_HEADERS = (
    "Authorization, Content-Encoding, Content-Type, Idempotency-Key, Inference-Header-Content-Length, Last-Event-ID, "
    "Prefer, traceparent, X-Request-ID"
)
#: What a page may read besides what every page may.
_EXPOSED_HEADERS = (
    "Inference-Header-Content-Length, Location, Preference-Applied, Retry-After, WWW-Authenticate, X-Request-ID"
)
#: How long a browser may remember what it was allowed.
_REMEMBERED_S = 600
_CONSOLE = "/console"


def install(app: Flask, has_tickets: Callable[[str | None], bool]) -> None:
    """Add CORS headers to responses; `has_tickets` tells whether a route accepts tickets for events."""

    def allow(response: Response) -> Response:
        settings, of_events = services.of(app).settings, has_tickets(flask_request.endpoint)
        for name, value in headers(settings, requests.current(), of_events=of_events).items():
            if name == "Vary":
                response.vary.add(value)
            else:
                response.headers[name] = value
        return response

    app.before_request(_preflight)
    app.after_request(allow)


def headers(settings: ApiSettings, request: Request, *, of_events: bool) -> dict[str, str]:
    """Return the CORS headers of an answer: for the API, or for a stream of events."""
    if not (settings.cors_origins or of_events) or _of_console(request):
        return {}
    if not may_call(settings, request, of_events=of_events):
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": request.environ["HTTP_ORIGIN"],
        "Access-Control-Expose-Headers": _EXPOSED_HEADERS,
    }


def may_call(settings: ApiSettings, request: Request, *, of_events: bool) -> bool:
    """Tell whether a request comes from a page of a listed site: for the API, or for events alone."""
    origin = request.header("HTTP_ORIGIN")
    if not origin or _of_console(request):
        return False
    return settings.lets_call(origin) or (of_events and settings.lets_read_events(origin))


def _preflight() -> Response | None:
    """Answer a preflight request: which methods and headers a page may use."""
    current = requests.current()
    is_preflight = current.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in current.environ
    rule = flask_request.url_rule
    if not is_preflight or rule is None or not may_call(services.current().settings, current, of_events=False):
        return None
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(rule.methods or ()))
    response.headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
    response.headers["Access-Control-Max-Age"] = str(_REMEMBERED_S)
    return response


def _of_console(request: Request) -> bool:
    return request.path == _CONSOLE or request.path.startswith(f"{_CONSOLE}/")
