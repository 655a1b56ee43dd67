"""Counts and histograms of one worker's batches, by endpoint and version.

They are plain numbers. The engine's thread changes them once for each batch, and `metrics_server` reads them in another
thread. Knows nothing of Prometheus.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from registry.deployments import DesiredDeployment
from workers.engine.intake.messages import QueuedJob
from workers.hosts.worker_side.host import Answer, HostGone
from workers.measures.counters import Kind
from workers.tracing import spans
from workers.tracing.traced import Batch

#: Bounds of buckets, from simple formulas to models that take minutes.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0)
#: The last versions of an endpoint, which are kept.
_VERSIONS_KEPT = 8
#: The last cold starts, whose quantiles are reported.
_COLD_STARTS_KEPT = 1_000


class Histogram:
    """Counts values in buckets."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.total = 0.0
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value; a bucket includes its upper bound."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return pairs of upper bound and cumulative count, as in Prometheus."""
        seen, found = 0, []
        for bound, count in zip([*map(str, self._bounds), "+Inf"], list(self._counts), strict=True):
            seen += count
            found.append((bound, float(seen)))
        return found


@dataclass(slots=True)
class Series:
    """The measurements of one version on one endpoint."""

    ended: Counter[Kind] = field(default_factory=Counter)
    queued_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    predict_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    rows: Histogram = field(default_factory=lambda: Histogram(ROWS))
    cold_start_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    host_restarts: int = 0
    evictions: int = 0


class EngineCounters:
    """The measurements of one engine; those of replays are left out."""

    def __init__(self, worker_name: str) -> None:
        self._worker_name = worker_name
        self._endpoints: dict[str, dict[str, Series]] = {}
        #: How often each endpoint was taken over from other workers.
        self._takeovers = Counter[str]()
        #: Of all endpoints, also of forgotten ones.
        self.cold_starts = 0
        self._last_cold_starts_s: deque[float] = deque(maxlen=_COLD_STARTS_KEPT)

    def predicted(
        self, deployment: DesiredDeployment, jobs: Sequence[QueuedJob], answer: Answer, started_at: float
    ) -> None:
        """Record a batch that a host has answered; it began at `started_at` (s since the epoch)."""
        if deployment.is_replay:
            return
        series = self._series(deployment)
        for job in jobs:
            if job.waits_since is not None:
                series.queued_s.observe(max(0.0, started_at - job.waits_since))
        series.predict_s.observe(answer.predict_ms / 1000)
        series.rows.observe(len(answer.outputs))
        errors = {row: error.type for row, error in answer.errors.items()}
        spans.batch_ended(self._batch(deployment, started_at), jobs, answer.predict_ms, errors)

    def lost(
        self, deployment: DesiredDeployment, jobs: Sequence[QueuedJob], error: HostGone, started_at: float
    ) -> None:
        """Record a batch that was lost with its host; it began at `started_at` (s since the epoch)."""
        if deployment.is_replay:
            return
        spans.batch_lost(self._batch(deployment, started_at), jobs, str(error))

    def ended(self, deployment: DesiredDeployment, kinds: Iterable[Kind]) -> None:
        """Count ended jobs, whose records this worker has written."""
        if deployment.is_replay:
            return
        self._series(deployment).ended.update(kinds)

    def host_lost(self, deployment: DesiredDeployment) -> None:
        """Count a host that died or was killed, and is replaced."""
        if deployment.is_replay:
            return
        self._series(deployment).host_restarts += 1

    def cold_start(self, deployment: DesiredDeployment, took_s: float) -> None:
        """Record a load for waiting jobs: from the arrival of the first one until a host had the version."""
        self._series(deployment).cold_start_s.observe(took_s)
        self._last_cold_starts_s.append(took_s)
        self.cold_starts += 1

    def cold_start_s(self, q: float) -> float | None:
        """Return the quantile `q` of the last cold starts; None without any."""
        ordered = sorted(self._last_cold_starts_s)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else None

    def evicted(self, deployment: DesiredDeployment) -> None:
        """Count a deployment that was put to sleep because others needed memory."""
        self._series(deployment).evictions += 1

    def took_over(self, endpoint_name: str) -> None:
        """Count an endpoint that other workers served, and that this one begins to serve."""
        self._takeovers[endpoint_name] += 1

    def takeovers(self, endpoint_name: str) -> int:
        """Return how often an endpoint was taken over; any thread may call it."""
        return self._takeovers[endpoint_name]

    def forget(self, endpoint_name: str) -> None:
        """Drop the measurements of an endpoint that is no longer served here."""
        self._takeovers.pop(endpoint_name, None)
        self._endpoints.pop(endpoint_name, None)

    def of(self, endpoint_name: str) -> Mapping[str, Series]:
        """Return the series of an endpoint by version; any thread may call it."""
        return dict(self._endpoints.get(endpoint_name, {}))

    def _series(self, deployment: DesiredDeployment) -> Series:
        versions = self._endpoints.setdefault(deployment.endpoint_name, {})
        series = versions.get(deployment.version)
        if series is None:
            series = versions[deployment.version] = Series()
            if len(versions) > _VERSIONS_KEPT:
                del versions[next(iter(versions))]
        return series

    def _batch(self, deployment: DesiredDeployment, started_at: float) -> Batch:
        return Batch(deployment.endpoint_name, deployment.model_name, deployment.version, self._worker_name, started_at)
