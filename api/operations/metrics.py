"""Metrics for Prometheus: the whole service, from Redis and the registry, and the HTTP requests of this process.

The first is the same whichever API process is asked. The second is counted in each process; with
`PROMETHEUS_MULTIPROC_DIR` the processes of one machine add up their counts in that folder.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from flask import current_app
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.multiprocess import MultiProcessCollector

from api.deployments import service as deployment_service
from api.http.flask_app import telemetry
from api.operations import exposition
from api.process import services
from api.process.services import Services
from registry.errors import RegistryError
from registry.judging import evaluations
from workers import metric_names as names
from workers.broker import backlogs
from workers.deployments import status, wanted_workers
from workers.deployments.status import Observed
from workers.endpoints import unknown_jobs
from workers.errors import QueueUnavailable
from workers.jobs import dead_letters
from workers.journal.files import kept
from workers.measures import counters
from workers.measures.counters import Kind
from workers.measures.reports import HostsState, SeenReport
from workers.metric_names import Metric
from workers.platform.redis.client import translated_errors
from workers.webhooks import store as deliveries
from workers.webhooks.store import DeliveryStatus, Figures

#: The metrics of features above this room, which the app adds.
_FEATURES: list[Callable[[Services], Iterator[Family]]] = []


def add_feature(families: Callable[[Services], Iterator[Family]]) -> None:
    """Let each scrape also have the metrics of a feature."""
    if families not in _FEATURES:
        _FEATURES.append(families)


def _families(here: Services) -> Iterator[Family]:
    """Read Redis and the registry for the whole service; `queuecast_up` shows what can't be reached and is missing."""
    redis_up = registry_up = True
    found = Observed([], [], [])
    replaying: set[str] = set()
    try:
        found = Observed([], status.live_workers(), [])
        yield _gauge(names.DEAD_LETTERS, [((), dead_letters.count())])
        yield from _webhooks(deliveries.figures())
        yield from _journal()
        yield _unknown_endpoint_jobs()
        found = deployment_service.observe(here)
        replaying = _replaying_groups(here)
        for families in _FEATURES:
            yield from families(here)
    except QueueUnavailable:
        redis_up = False
    except RegistryError:
        registry_up = False
    yield _gauge(names.UP, [(("redis",), redis_up), (("registry",), registry_up)])
    if redis_up:
        groups = {view["worker_group"]: 0 for view in found.views}
        groups |= Tally(each["worker_group"] for each in found.workers)
        yield _gauge(names.WORKERS, [((group,), count) for group, count in sorted(groups.items())])
        if registry_up:
            yield from _unfinished(found.views, found.workers, dict.fromkeys([*groups, *replaying]), replaying)
    yield from _deployments(found)


def _replaying_groups(here: Services) -> set[str]:
    """Return the groups whose workers replay jobs for evaluations, or have hosts left of them."""
    with here.database.session() as session:
        return {each.worker_group for each in evaluations.desired(session)}


def _webhooks(figures: Figures) -> Iterator[Family]:
    ended = CounterMetricFamily(names.WEBHOOKS.name, names.WEBHOOKS.text, labels=names.WEBHOOKS.labels)
    ended.add_metric([DeliveryStatus.DELIVERED.value], figures.delivered)
    ended.add_metric([DeliveryStatus.FAILED.value], figures.failed)
    yield ended
    failures = names.WEBHOOK_FAILURES
    yield CounterMetricFamily(failures.name, failures.text, value=figures.failed_attempts)
    yield _gauge(names.WEBHOOKS_PENDING, [((), figures.pending)])
    yield _gauge(names.WEBHOOKS_OVERDUE, [((), figures.overdue_s)])


def _journal() -> Iterator[Family]:
    with translated_errors():
        found = kept.stream_figures()
    jobs = CounterMetricFamily(names.JOURNAL_JOBS.name, names.JOURNAL_JOBS.text, labels=names.JOURNAL_JOBS.labels)
    for outcome, counts in (("taken", found.added), ("dropped", found.dropped)):
        for endpoint_name, count in sorted(counts.items()):
            jobs.add_metric([endpoint_name, outcome], count)
    yield jobs
    yield _gauge(names.JOURNAL_BYTES, [((), found.size_bytes)])
    yield _gauge(names.JOURNAL_LAG, [((), found.lag_s)])


def _unknown_endpoint_jobs() -> Family:
    metric = names.UNKNOWN_ENDPOINT_JOBS
    return CounterMetricFamily(metric.name, metric.text, value=unknown_jobs.failed_count())


def _unfinished(
    views: Sequence[Mapping[str, Any]],
    workers: Sequence[SeenReport],
    groups: Iterable[str],
    replaying: Collection[str],
) -> Iterator[Family]:
    """Add up the unfinished jobs of each worker group, and show how many workers it needs; parked ones need none."""
    counts = dict.fromkeys(groups, 0)
    live = {group: [each for each in workers if each["worker_group"] == group] for group in counts}
    needed: dict[str, list[int]] = {group: [] for group in counts}
    wanted = [view for view in views if view["status"] != status.PARKED]
    try:
        unfinished = backlogs.unfinished([view["endpoint_name"] for view in wanted])
    except QueueUnavailable:
        return
    for view, count in zip(wanted, unfinished, strict=True):
        # A job of a bare Celery app has no record before it is taken.
        group = view["worker_group"]
        counts[group] += max(count, view["queue_depth"])
        needed[group].append(wanted_workers.of_endpoint(view, count, live[group]))
    wanted_of = {
        group: wanted_workers.of_group(each, views, live[group], is_replaying=group in replaying)
        for group, each in needed.items()
    }
    yield _gauge(names.GROUP_WANTED_WORKERS, [((group,), count) for group, count in sorted(wanted_of.items())])
    yield _gauge(names.GROUP_UNFINISHED_JOBS, [((group,), count) for group, count in sorted(counts.items())])


def _deployments(found: Observed) -> Iterator[Family]:
    views = found.views
    jobs = CounterMetricFamily(names.ENDPOINT_JOBS.name, names.ENDPOINT_JOBS.text, labels=names.ENDPOINT_JOBS.labels)
    for view in views:
        succeeded, failed = view["succeeded_count"], view["failed_count"]
        counts = {Kind.SUCCEEDED: succeeded, Kind.FAILED: failed}
        counts[Kind.WITHDRAWN] = view["request_count"] - succeeded - failed
        for kind, count in counts.items():
            jobs.add_metric([view["endpoint_name"], kind.value], count)
    yield jobs
    yield _durations(found)
    yield _gauge(names.QUEUE_DEPTH, [((view["endpoint_name"],), view["queue_depth"]) for view in views])
    yield _gauge(names.QUEUE_BYTES, [((view["endpoint_name"],), view["queue_bytes"]) for view in views])
    yield _gauge(names.OLDEST_JOB_AGE, [((view["endpoint_name"],), view["oldest_job_age_s"] or 0) for view in views])
    yield from _delayed(views)
    yield _gauge(
        names.DEPLOYMENT_STATE,
        [
            ((view["endpoint_name"], view["version"], state), view["status"] == state)
            for view in views
            for state in status.SHOWN
        ],
    )
    yield from _hosts(views)


def _durations(found: Observed) -> Family:
    """Describe how long the jobs of each endpoint took."""
    metric = names.JOB_DURATION
    family = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
    bounds = [*map(str, counters.HISTOGRAM_S), "+Inf"]
    for view, counted in zip(found.views, found.counted, strict=True):
        histogram = counters.histogram(counted)
        buckets = list(zip(bounds, accumulate(histogram.jobs), strict=True))
        family.add_metric([view["endpoint_name"]], buckets, histogram.sum_s)
    return family


def _delayed(views: Sequence[Mapping[str, Any]]) -> Iterator[Family]:
    """Describe the delayed jobs of each endpoint, and when the next one is due."""
    yield _gauge(names.DELAYED_JOBS, [((view["endpoint_name"],), view["delayed_count"]) for view in views])
    next_due_at = {view["endpoint_name"]: view["next_due_at"] for view in views if view["next_due_at"]}
    now = datetime.now(UTC)
    next_due_s = [((name,), (datetime.fromisoformat(at) - now).total_seconds()) for name, at in next_due_at.items()]
    yield _gauge(names.DELAYED_NEXT, next_due_s)


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
    if here.settings.prometheus_multiproc_dir is None:
        registry.register(telemetry.counters_of(current_app).registry)
        ProcessCollector(registry=registry)
    else:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    encode, media_type = exposition.encoder(accept)
    return encode(_families(here), registry), media_type
