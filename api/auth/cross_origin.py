"""Which pages of other sites may call the API from a browser (CORS, after the Fetch standard); none by default.

No response allows credentials: a page sends its API key in `Authorization`, and the console's cookie is for the
console alone. No other site may use the console.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, request

from api.process import services

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
        if not _of_console() and (services.of(app).settings.cors_origins or has_tickets(request.endpoint)):
            response.vary.add("Origin")
        if may_call(has_tickets(request.endpoint)):
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
        return response

    app.before_request(_preflight)
    app.after_request(allow)


def may_call(for_events: bool) -> bool:
    """Tell whether this request comes from a page of a listed site: for the API, or for events alone."""
    origin = request.headers.get("Origin")
    if not origin or _of_console():
        return False
    settings = services.current().settings
    return settings.lets_call(origin) or (for_events and settings.lets_read_events(origin))


def _preflight() -> Response | None:
    """Answer a preflight request: which methods and headers a page may use."""
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if not is_preflight or request.url_rule is None or not may_call(for_events=False):
        return None
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(request.url_rule.methods or ()))
    response.headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
    response.headers["Access-Control-Max-Age"] = str(_REMEMBERED_S)
    return response


def _of_console() -> bool:
    return request.path == _CONSOLE or request.path.startswith(f"{_CONSOLE}/")
