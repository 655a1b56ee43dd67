"""`/metrics` of one worker: a small HTTP server in its own thread, if a port is set."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from registry.names import is_replay
from workers import metric_names as names
from workers.engine.telemetry.counters import EngineCounters, Histogram, Series
from workers.measures.counters import Kind
from workers.measures.reports import GpuReport, MemoryReport
from workers.metric_names import Metric

_log = logging.getLogger(__name__)

#: Several workers on a machine may have the same setting; each uses the next free port.
PORTS_TRIED = 16


class WorkerCollector(Collector):
    """Converts measurements to Prometheus's metric families, for the endpoints served at the time of the scrape.

    `served` returns the endpoints of this worker with their desired versions, `placed` those that it doesn't leave to
    others of its group, `memory` what its hosts use, and `gpus` what is used of its GPUs.
    """

    def __init__(
        self,
        counters: EngineCounters,
        served: Callable[[], Mapping[str, str]],
        memory: Callable[[], MemoryReport | None] = lambda: None,
        placed: Callable[[], Collection[str]] = frozenset,
        gpus: Callable[[], Sequence[GpuReport]] = tuple,
    ) -> None:
        self._counters = counters
        self._served = served
        self._memory = memory
        self._placed = placed
        self._gpus = gpus

    def collect(self) -> Iterator[Family]:
        """Return all families, with the series of served endpoints only."""
        found = [
            (name, version, series)
            for name, wanted in sorted(self._served().items())
            if not is_replay(name)
            # A rate requires the series to start at zero.
            for version, series in {wanted: Series(), **self._counters.of(name)}.items()
        ]
        jobs, restarts, evictions = map(_counter, (names.JOBS, names.HOST_RESTARTS, names.EVICTIONS))
        for name, version, series in found:
            for kind in Kind:
                jobs.add_metric([name, version, kind.value], series.ended[kind])
            restarts.add_metric([name, version], series.host_restarts)
            evictions.add_metric([name, version], series.evictions)
        yield jobs
        yield restarts
        yield evictions
        yield from self._placement(sorted({name for name, _, _ in found}))
        yield from _memory(self._memory())
        yield from _gpus(self._gpus())
        yield _histogram(names.QUEUED, [(name, version, series.queued_s) for name, version, series in found])
        yield _histogram(names.PREDICTING, [(name, version, series.predict_s) for name, version, series in found])
        yield _histogram(names.COLD_STARTS, [(name, version, series.cold_start_s) for name, version, series in found])
        yield _histogram(names.BATCH_ROWS, [(name, version, series.rows) for name, version, series in found])

    def _placement(self, endpoint_names: Sequence[str]) -> Iterator[Family]:
        here, placed = self._placed(), names.PLACED
        places = GaugeMetricFamily(placed.name, placed.text, labels=placed.labels)
        takeovers = _counter(names.TAKEOVERS)
        for name in endpoint_names:
            places.add_metric([name], int(name in here))
            takeovers.add_metric([name], self._counters.takeovers(name))
        yield places
        yield takeovers


def _memory(report: MemoryReport | None) -> Iterator[Family]:
    if report is None:
        return
    yield GaugeMetricFamily(names.WORKER_MEMORY.name, names.WORKER_MEMORY.text, value=report["used_bytes"])
    if report["budget_bytes"] is not None:
        budget = names.WORKER_MEMORY_BUDGET
        yield GaugeMetricFamily(budget.name, budget.text, value=report["budget_bytes"])


def _gpus(found: Sequence[GpuReport]) -> Iterator[Family]:
    share, used, memory = (
        GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
        for metric in (names.WORKER_GPU_SHARE, names.WORKER_GPU_USED, names.WORKER_GPU_MEMORY)
    )
    for each in found:
        share.add_metric([each["id"]], each["share"])
        if each["used_bytes"] is not None:
            used.add_metric([each["id"]], each["used_bytes"])
        if each["memory_bytes"] is not None:
            memory.add_metric([each["id"]], each["memory_bytes"])
    yield from (share, used, memory)


def _counter(metric: Metric) -> CounterMetricFamily:
    return CounterMetricFamily(metric.name, metric.text, labels=metric.labels)


def _histogram(metric: Metric, found: list[tuple[str, str, Histogram]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
    for name, version, histogram in found:
        family.add_metric([name, version], histogram.buckets(), histogram.total)
    return family


class MetricsServer:
    """An HTTP server that starts on construction, or logs an error if no port is free."""

    def __init__(self, collector: Collector, host: str, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        ProcessCollector(registry=registry)
        self._server: WSGIServer | None = None
        self._thread: Any = None
        for each in range(port, min(port + PORTS_TRIED, 65_536)):
            try:
                self._server, self._thread = start_http_server(each, host, registry)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    _log.error("no metrics: can't listen on %s:%d (%s)", host, each, error)
                    return
                continue
            _log.info("serving metrics at http://%s:%d/metrics", host, each)
            return
        _log.error("no metrics: the ports %d to %d of %s are all in use", port, port + PORTS_TRIED - 1, host)

    @property
    def port(self) -> int | None:
        """The port, if it listens."""
        return self._server.server_port if self._server else None

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None
