"""What `/metrics` says: the whole service as Redis and the registry have it, and this process's HTTP requests.

The first is the same whichever API process is asked. The second is counted in each process; with
`PROMETHEUS_MULTIPROC_DIR` the processes of one machine add up their counts in that folder.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from flask import Flask, current_app
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api import deploying, services
from api.services import Services
from registry.errors import RegistryError
from workers import backlogs, dead_letters, status
from workers import metric_names as names
from workers.errors import QueueUnavailable
from workers.metric_names import Metric
from workers.reports import HostsState, SeenReport
from workers.statistics import Kind
from workers.webhooks import deliveries
from workers.webhooks.deliveries import DeliveryStatus, Figures

_EXTENSION = "queuecast_metrics"
#: Up to a long poll.
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


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
        # Anybody can make up a method, and each would be a series.
        method = method if method in _METHODS else "other"
        series = self._series.get((method, route, status_code)) or self._new_series(method, route, status_code)
        series[0].inc()
        series[1].observe(duration_s)

    def _new_series(self, method: str, route: str, status_code: int) -> tuple[Counter, Histogram]:
        requests = self._requests.labels(method, route, str(status_code))
        series = self._series[method, route, status_code] = requests, self._duration.labels(route)
        return series


class ServiceCollector(Collector):
    """Asks Redis and the registry each time that it is asked itself."""

    def __init__(self, here: Services) -> None:
        self._services = here

    def collect(self) -> Iterator[Family]:
        """Return the families of the whole service; what can't be reached is missing, and said to be."""
        redis_up = registry_up = True
        views: list[deploying.View] = []
        workers: list[SeenReport] = []
        try:
            workers = status.live_workers()
            yield _gauge(names.DEAD_LETTERS, [((), dead_letters.count())])
            yield from _webhooks(deliveries.figures())
            views = deploying.list_all(self._services)
        except QueueUnavailable:
            redis_up = False
        except RegistryError:
            registry_up = False
        yield _gauge(names.UP, [(("redis",), redis_up), (("registry",), registry_up)])
        if redis_up:
            groups = {view["worker_group"]: 0 for view in views} | Tally(each["worker_group"] for each in workers)
            yield _gauge(names.WORKERS, [((group,), count) for group, count in sorted(groups.items())])
            yield from _unfinished(views, groups)
        yield from _deployments(views)


def _webhooks(figures: Figures) -> Iterator[Family]:
    ended = CounterMetricFamily(names.WEBHOOKS.name, names.WEBHOOKS.text, labels=names.WEBHOOKS.labels)
    ended.add_metric([DeliveryStatus.DELIVERED.value], figures.delivered)
    ended.add_metric([DeliveryStatus.FAILED.value], figures.failed)
    yield ended
    failures = names.WEBHOOK_FAILURES
    yield CounterMetricFamily(failures.name, failures.text, value=figures.failed_attempts)
    yield _gauge(names.WEBHOOKS_PENDING, [((), figures.pending)])
    yield _gauge(names.WEBHOOKS_OVERDUE, [((), figures.overdue_s)])


def _unfinished(views: Sequence[Mapping[str, Any]], groups: Iterable[str]) -> Iterator[Family]:
    """Add up what the workers of each group have yet to do; nobody is wanted for jobs that are parked."""
    counts = dict.fromkeys(groups, 0)
    wanted = [view for view in views if view["status"] != status.PARKED]
    try:
        unfinished = backlogs.unfinished([view["endpoint_name"] for view in wanted])
    except QueueUnavailable:
        return
    for view, count in zip(wanted, unfinished, strict=True):
        # A job of a bare Celery app has no record before it is taken.
        counts[view["worker_group"]] += max(count, view["queue_depth"])
    yield _gauge(names.GROUP_UNFINISHED_JOBS, [((group,), count) for group, count in sorted(counts.items())])


def _deployments(views: Sequence[Mapping[str, Any]]) -> Iterator[Family]:
    jobs = CounterMetricFamily(names.ENDPOINT_JOBS.name, names.ENDPOINT_JOBS.text, labels=names.ENDPOINT_JOBS.labels)
    for view in views:
        succeeded, failed = view["succeeded_count"], view["failed_count"]
        counts = {Kind.SUCCEEDED: succeeded, Kind.FAILED: failed}
        counts[Kind.WITHDRAWN] = view["request_count"] - succeeded - failed
        for kind, count in counts.items():
            jobs.add_metric([view["endpoint_name"], kind.value], count)
    yield jobs
    yield _gauge(names.QUEUE_DEPTH, [((view["endpoint_name"],), view["queue_depth"]) for view in views])
    yield _gauge(names.OLDEST_JOB_AGE, [((view["endpoint_name"],), view["oldest_job_age_s"] or 0) for view in views])
    yield _gauge(
        names.DEPLOYMENT_STATE,
        [
            ((view["endpoint_name"], view["version"], state), view["status"] == state)
            for view in views
            for state in status.SHOWN
        ],
    )
    yield from _hosts(views)


def _hosts(views: Sequence[Mapping[str, Any]]) -> Iterator[Family]:
    """Add up the hosts of all workers; during a swap an endpoint has two versions."""
    ready, wanted, memory = Tally[tuple[str, str]](), Tally[tuple[str, str]](), Tally[tuple[str, str]]()
    for view in views:
        for each in view["workers"]:
            labels = (view["endpoint_name"], each["version"])
            ready[labels] += each["hosts"]
            wanted[labels] += each["hosts_wanted"] if each["state"] != HostsState.STOPPING else 0
            memory[labels] += each["memory_bytes"]
    for metric, found in ((names.HOSTS_READY, ready), (names.HOSTS_WANTED, wanted), (names.HOST_MEMORY, memory)):
        yield _gauge(metric, list(found.items()))


def _gauge(metric: Metric, found: Sequence[tuple[tuple[str, ...], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
    for labels, value in found:
        family.add_metric(labels, float(value))
    return family


def scrape(accept: str) -> tuple[bytes, str]:
    """Return what Prometheus reads, and its media type, in the form that it asks for."""
    here = services.current()
    registry = CollectorRegistry()
    registry.register(ServiceCollector(here))
    if here.settings.prometheus_multiproc_dir is None:
        registry.register(of(current_app).registry)
        ProcessCollector(registry=registry)
    else:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


def install(app: Flask) -> None:
    """Give the app its counters."""
    app.extensions[_EXTENSION] = HttpMetrics()


def of(app: Flask) -> HttpMetrics:
    """Return the counters of an app."""
    metrics = app.extensions[_EXTENSION]
    assert isinstance(metrics, HttpMetrics)  # noqa: S101 - narrows the type
    return metrics
