"""Records every request: its metrics, its span, its line in the access log, and the context of its log lines."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, ExitStack
from urllib.parse import quote

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from api.http import request_ids
from api.settings import ApiSettings
from workers import metric_names as names
from workers.platform import logs
from workers.tracing import spans

_access = logging.getLogger("api.access")
#: Regular requests of probes are not worth a trace.
_UNTRACED = ("metrics.", "health.")
_NO_ROUTE = "none"
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


def _begin() -> None:
    g.began = time.perf_counter()
    headers = spans.headers_in(request.headers) if "HTTP_TRACEPARENT" in request.environ else None
    spans.arrive(headers)
    named = request.view_args or {}
    logs.begin(
        request_id=request_ids.current(),
        trace_id=spans.trace_id(headers),
        job_id=named.get("job_id"),
        endpoint_name=named.get("endpoint_name"),
    )
    if spans.started() and not (request.endpoint or "").startswith(_UNTRACED):
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
    g.answered = g.span.enter_context(spans.serving(headers, f"{request.method} {_route()}", attributes))


def _end_span(_error: BaseException | None = None) -> None:
    if "span" in g:
        g.pop("span").close()


def _answered(app: Flask, response: Response, *, logged: bool) -> Response:
    duration_s = time.perf_counter() - g.began
    counters_of(app).answered(request.method, _route(), response.status_code, duration_s)
    if "span" in g:
        g.answered(response.status_code)
    if logged:
        duration_ms = round(duration_s * 1000, 1)
        _access.info(
            "%s %s %d %.1f ms (request %s)",
            request.method, quote(request.path, safe=_SHOWN), response.status_code, duration_ms, request_ids.current(),
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
    """Record every request of this app, failed ones too; install it before what may refuse requests."""
    install_counters(app)
    spans.start("queuecast-api")
    app.before_request(_begin)
    app.after_request(lambda response: _answered(app, response, logged=settings.access_log))
    app.teardown_request(_end_span)


def install_counters(app: Flask) -> None:
    """Give the app its counters, all of them 0."""
    app.extensions[_EXTENSION] = HttpMetrics()


def counters_of(app: Flask) -> HttpMetrics:
    """Return the counters of an app."""
    counters = app.extensions[_EXTENSION]
    assert isinstance(counters, HttpMetrics)  # noqa: S101 - narrows the type
    return counters
