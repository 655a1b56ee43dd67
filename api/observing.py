"""What is noted of every request: its metrics, its span, its line in the access log, and what log lines are about."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack

from flask import Flask, Response, g, request

from api import metrics, request_ids
from api.settings import ApiSettings
from workers import logs, tracing

_access = logging.getLogger("api.access")
#: Who looks regularly is not worth a trace.
_UNTRACED = ("metrics.", "health.")
_NO_ROUTE = "none"


def _begin() -> None:
    g.began = time.perf_counter()
    headers = tracing.headers_in(request.headers) if "HTTP_TRACEPARENT" in request.environ else None
    tracing.arrive(headers)
    named = request.view_args or {}
    logs.begin(
        request_id=request_ids.current(),
        trace_id=tracing.trace_id(headers),
        job_id=named.get("job_id"),
        endpoint_name=named.get("endpoint_name"),
    )
    if tracing.started() and not (request.endpoint or "").startswith(_UNTRACED):
        _begin_span(headers)


def _begin_span(headers: dict[str, str] | None) -> None:
    attributes = {
        "http.request.method": request.method,
        "http.route": _route(),
        "url.path": request.path,
        "url.scheme": request.scheme,
        "queuecast.request_id": request_ids.current(),
    }
    g.span = ExitStack()
    g.answered = g.span.enter_context(tracing.serving(headers, f"{request.method} {_route()}", attributes))


def _end_span(_error: BaseException | None = None) -> None:
    if "span" in g:
        g.pop("span").close()


def _answered(app: Flask, response: Response, *, logged: bool) -> Response:
    duration_s = time.perf_counter() - g.began
    metrics.of(app).answered(request.method, _route(), response.status_code, duration_s)
    if "span" in g:
        g.answered(response.status_code)
    if logged:
        duration_ms = round(duration_s * 1000, 1)
        _access.info(
            "%s %s %d %.1f ms (request %s)",
            request.method, request.path, response.status_code, duration_ms, request_ids.current(),
            extra={
                "method": request.method,
                "path": request.path,
                "status": response.status_code,
                "duration_ms": duration_ms,
            },
        )  # fmt: skip
    return response


def _route() -> str:
    return request.url_rule.rule if request.url_rule is not None else _NO_ROUTE


def install(app: Flask, settings: ApiSettings) -> None:
    """Observe every request of this app, those that fail too; install it before what may refuse requests."""
    metrics.install(app)
    tracing.start("queuecast-api")
    app.before_request(_begin)
    app.after_request(lambda response: _answered(app, response, logged=settings.access_log))
    app.teardown_request(_end_span)
