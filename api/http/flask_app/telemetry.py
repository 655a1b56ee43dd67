"""Records every request: its metrics, its span, its line in the access log, and the context of its log lines."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, ExitStack
from urllib.parse import quote

from flask import Flask, Response
from flask import request as flask_request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from api.http.exchange import Request
from api.http.flask_app import requests
from api.settings import ApiSettings
from workers import metric_names as names
from workers.platform import logs
from workers.tracing import spans

_access = logging.getLogger("api.access")
#: Regular requests of probes are not worth a trace.
_UNTRACED = ("metrics.", "health.")
_EXTENSION = "queuecast_metrics"
#: Up to a long poll.
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: What stays as it is in a path (RFC 3986); all else is logged percent-encoded.
_SHOWN = "/:@!$&'()*+,;=~-._"


class HttpMetrics:
    """The HTTP requests of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        #: The library's own look-up takes longer than the counting.
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        requests, duration = names.HTTP_REQUESTS, names.HTTP_DURATION
        self._requests = Counter(requests.name, requests.text, requests.labels, registry=self.registry)
        self._duration = Histogram(
            duration.name, duration.text, duration.labels, registry=self.registry, buckets=_BUCKETS_S
        )
        streams = names.EVENT_STREAMS
        self._streams = Gauge(streams.name, streams.text, registry=self.registry, multiprocess_mode="livesum")

    def streaming(self) -> AbstractContextManager[None]:
        """Count an open stream of events as long as the block lasts."""
        return self._streams.track_inprogress()

    def answered(self, method: str, route: str, status_code: int, duration_s: float) -> None:
        """Count one request; `route` is the pattern of its address, of which there are few."""
        # A client can invent methods, and each would be a series.
        method = method if method in _METHODS else "other"
        series = self._series.get((method, route, status_code)) or self._new_series(method, route, status_code)
        series[0].inc()
        series[1].observe(duration_s)

    def _new_series(self, method: str, route: str, status_code: int) -> tuple[Counter, Histogram]:
        requests = self._requests.labels(method, route, str(status_code))
        series = self._series[method, route, status_code] = requests, self._duration.labels(route)
        return series


def begin(request: Request, *, is_traced: bool = True) -> None:
    """Begin a request: the context of its log lines, and its span."""
    given = "HTTP_TRACEPARENT" in request.environ
    headers = spans.headers_in(_TraceHeaders(request)) if given else None
    spans.arrive(headers)
    logs.begin(
        request_id=request.request_id,
        trace_id=spans.trace_id(headers),
        job_id=request.arguments.get("job_id"),
        endpoint_name=request.arguments.get("endpoint_name"),
    )
    if is_traced and spans.started():
        _begin_span(request, headers)


def end(request: Request, status_code: int, metrics: HttpMetrics, *, is_logged: bool) -> None:
    """Record a request that is answered; its span still has to be closed."""
    duration_s = time.perf_counter() - request.began
    metrics.answered(request.method, request.route, status_code, duration_s)
    if request.answered is not None:
        request.answered(status_code)
    if is_logged:
        path, duration_ms = request.path, round(duration_s * 1000, 1)
        _access.info(
            "%s %s %d %.1f ms (request %s)",
            request.method, quote(path, safe=_SHOWN), status_code, duration_ms, request.request_id,
            extra={"method": request.method, "path": path, "status": status_code, "duration_ms": duration_ms},
        )  # fmt: skip


def close(request: Request) -> None:
    """Close the span of a request."""
    if request.span is not None:
        request.span.close()
        request.span = None


def _begin_span(request: Request, headers: dict[str, str] | None) -> None:
    attributes = {
        "http.request.method": request.method,
        "http.route": request.route,
        "url.path": request.path,
        "url.scheme": str(request.environ.get("wsgi.url_scheme", "http")),
        "queuecast.request_id": request.request_id,
    }
    request.span = ExitStack()
    span = spans.serving(headers, f"{request.method} {request.route}", attributes)
    request.answered = request.span.enter_context(span)


class _TraceHeaders:
    """The headers of a request by their own names."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def get(self, name: str, /) -> str | None:
        """Return a header's value; None without it."""
        return self._request.header(f"HTTP_{name.upper().replace('-', '_')}")


def _begin_flask() -> None:
    current = requests.current()
    begin(current, is_traced=not (flask_request.endpoint or "").startswith(_UNTRACED))


def _end_flask(app: Flask, response: Response, *, is_logged: bool) -> Response:
    end(requests.current(), response.status_code, counters_of(app), is_logged=is_logged)
    return response


def _close_flask(_error: BaseException | None = None) -> None:
    close(requests.current())


def install(app: Flask, settings: ApiSettings) -> None:
    """Record every request of this app, failed ones too; install it before what may refuse requests."""
    install_counters(app)
    spans.start("queuecast-api")
    app.before_request(_begin_flask)
    app.after_request(lambda response: _end_flask(app, response, is_logged=settings.access_log))
    app.teardown_request(_close_flask)


def install_counters(app: Flask) -> None:
    """Give the app its counters, all of them 0."""
    app.extensions[_EXTENSION] = HttpMetrics()


def counters_of(app: Flask) -> HttpMetrics:
    """Return the counters of an app."""
    counters = app.extensions[_EXTENSION]
    assert isinstance(counters, HttpMetrics)  # noqa: S101 - narrows the type
    return counters
