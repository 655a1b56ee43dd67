"""The measured pace of each endpoint's workers, and the estimated wait of a job at that pace."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping
from functools import lru_cache

import msgspec
import redis

from workers.errors import QueueUnavailable
from workers.measures import reports
from workers.measures.positions import JobsAhead
from workers.measures.reports import HostsState
from workers.platform.loops import blocking
from workers.platform.redis.client import UNREACHABLE, records_client

_log = logging.getLogger(__name__)

_CONNECTION_ERRORS = (redis.ConnectionError, redis.TimeoutError, OSError)

#: How long reports are used after they were read; workers write new ones every few seconds.
_FRESH_S = 1.0
#: The same if they contain no pace of the endpoint, which may have just become ready.
_FRESH_IF_UNKNOWN_S = 0.1
#: Reports older than this are not used while another thread reads new ones.
_USABLE_S = 5.0
#: The same if they contain no pace of the endpoint: a steady load keeps them younger, and others wait for new ones.
_USABLE_IF_UNKNOWN_S = 0.5
#: Workers whose largest batches are below this share of the largest are left out: they have measured no large ones.
_MIN_KNOWN_SHARE = 0.5


class Pace(msgspec.Struct, frozen=True):
    """The pace of one worker or of all workers at an endpoint; as `reports.PaceReport`."""

    hosts: int
    batch_jobs: float
    fixed_ms: float
    job_ms: float
    known_jobs: float

    def batch_s(self, jobs: float) -> float:
        """Return the duration of a batch of so many jobs."""
        return (self.fixed_ms + self.job_ms * min(jobs, self.batch_jobs)) / 1000

    @property
    def jobs_per_s(self) -> float:
        """Throughput while many jobs wait, with batches of the largest measured size."""
        jobs = max(1.0, min(self.batch_jobs, self.known_jobs))
        return self.hosts * jobs / max(self.batch_s(jobs), 1e-6)

    def wait_s(self, before: int, others: int = 0) -> float | None:
        """Return how long a job waits for a host behind `before` jobs, while `others` may run; None if unknown.

        An idle host takes the job at once. If all are busy, the first becomes idle after 1 / (hosts + 1) of a batch on
        average, and then one at each end of a batch. Waiting jobs make full batches.
        """
        if before + others < self.hosts:
            return 0.0
        jobs = min(self.batch_jobs, max(1.0, (before + others) / self.hosts))
        if jobs > self.known_jobs:
            return None
        full_batches = math.floor(max(0.0, before / self.batch_jobs - self.hosts))
        return self.batch_s(jobs) / (self.hosts + 1) + full_batches * self.batch_s(self.batch_jobs) / self.hosts


def combined(paces: list[Pace]) -> Pace:
    """Return the pace of several workers: all hosts, at the mean pace of the workers with the largest batches."""
    most = max(each.known_jobs for each in paces)
    knowing = [each for each in paces if each.known_jobs >= _MIN_KNOWN_SHARE * most]
    hosts = sum(each.hosts for each in knowing)

    def mean(name: str) -> float:
        return sum(float(getattr(each, name)) * each.hosts for each in knowing) / hosts

    return Pace(sum(each.hosts for each in paces), mean("batch_jobs"), mean("fixed_ms"), mean("job_ms"), most)


class ColdStart(msgspec.Struct, frozen=True):
    """The load of an endpoint without hosts, which its next job begins, or jobs that wait have begun."""

    #: How long it takes (s); None if it hasn't been measured.
    load_s: float | None = None
    #: When it began (s since the epoch); None if it hasn't.
    began_at: float | None = None
    #: The pace of a host once it is loaded.
    pace: Pace | None = None

    def left_s(self, now: float) -> float | None:
        """Return how long it still takes; None if that is unknown."""
        if self.load_s is None:
            return None
        return self.load_s if self.began_at is None else max(0.0, self.load_s - max(0.0, now - self.began_at))

    def wait_s(self, before: int, now: float) -> float | None:
        """Return how long a job behind `before` jobs waits; None if it is unknown."""
        left_s = self.left_s(now)
        behind_s = self.pace.wait_s(before) if self.pace is not None else 0.0
        return None if left_s is None or behind_s is None else left_s + behind_s


class _Version(msgspec.Struct):
    state: str
    hosts: int
    load_ms: float | None = None
    woken_at: float | None = None


class _LoadFailure(msgspec.Struct):
    revision: int


class _Endpoint(msgspec.Struct):
    versions: list[_Version]
    pace: Pace | None = None
    load_failure: _LoadFailure | None = None


class _Worker(msgspec.Struct):
    endpoints: dict[str, _Endpoint]


_decode = msgspec.json.Decoder(_Worker).decode


class Paces:
    """The paces of all endpoints, read again on use when they are a second old; thread-safe."""

    def __init__(self) -> None:
        self._paces: Mapping[str, Pace | None] = {}
        self._cold_starts: Mapping[str, ColdStart] = {}
        self._failing: frozenset[str] = frozenset()
        self._read_at = -math.inf
        self._failed = False
        #: The error of the last read, if Redis could not be reached.
        self._connection_error: Exception | None = None
        self._reading = threading.Lock()

    def of(self, endpoint_name: str) -> tuple[Pace | None, bool]:
        """Return the pace of an endpoint, None if it is unknown, and whether any worker is ready to serve it."""
        # A thread that must not wait uses what there is.
        if not blocking.is_forbidden():
            fresh_s = _FRESH_IF_UNKNOWN_S if self._is_unknown(endpoint_name) else _FRESH_S
            self._refresh(fresh_s, wait=not self.is_usable(endpoint_name))
        return self._paces.get(endpoint_name), endpoint_name in self._paces

    def cold_start(self, endpoint_name: str) -> ColdStart | None:
        """Return the load of an endpoint that has no hosts and takes jobs, from what `of` has read; None if it has."""
        return self._cold_starts.get(endpoint_name)

    def is_due(self, endpoint_name: str) -> bool:
        """Whether `of` would read the reports again to tell the pace of this endpoint."""
        fresh_s = _FRESH_IF_UNKNOWN_S if self._is_unknown(endpoint_name) else _FRESH_S
        return time.monotonic() - self._read_at > fresh_s

    def is_usable(self, endpoint_name: str) -> bool:
        """Whether what was read last may be used while it is read again."""
        usable_s = _USABLE_IF_UNKNOWN_S if self._is_unknown(endpoint_name) else _USABLE_S
        return time.monotonic() - self._read_at <= usable_s

    def _is_unknown(self, endpoint_name: str) -> bool:
        return self._paces.get(endpoint_name) is None and not self._failed

    def is_failing(self, endpoint_name: str) -> bool:
        """Whether a worker has failed to load the deployed version and serves no other version.

        Raises:
            QueueUnavailable: Redis can't be reached; a submit would wait for it a second time.
        """
        if not blocking.is_forbidden() and self._refresh(_FRESH_S, wait=False):
            self.check_reachable()
        return endpoint_name in self._failing

    def check_reachable(self) -> None:
        """Raise QueueUnavailable if Redis could not be reached when the reports were read last."""
        if self._connection_error is not None:
            raise QueueUnavailable(UNREACHABLE) from self._connection_error

    def expire(self) -> None:
        """Read the reports again on the next use, because they have changed."""
        self._read_at = -math.inf

    def _refresh(self, fresh_s: float, *, wait: bool) -> bool:
        """Read the reports if they are older than this; return whether this call did. `wait` for another reader."""
        if time.monotonic() - self._read_at <= fresh_s or not self._reading.acquire(blocking=wait):
            return False
        try:
            if time.monotonic() - self._read_at <= fresh_s:
                return False
            self._read()
            return True
        finally:
            self._reading.release()

    def _read(self) -> None:
        try:
            with records_client().pipeline(transaction=False) as pipeline:
                reports.queue_reads(pipeline)
                replies = pipeline.execute()
            workers = [_decode(each) for each in reports.live_reports(replies)]
            self._paces, self._failed, self._connection_error = _by_endpoint(workers), False, None
            self._cold_starts = _cold_starts(workers, self._paces)
            self._failing = frozenset(
                name for each in workers for name, endpoint in each.endpoints.items() if endpoint.load_failure
            )
        except (redis.RedisError, OSError, msgspec.MsgspecError) as error:
            # A missing estimate must not fail a submit or a view.
            _log.warning("no estimates of waits: reading the workers' reports failed (%s)", error)
            self._paces, self._failing, self._failed = {}, frozenset(), True
            self._cold_starts = {}
            self._connection_error = error if isinstance(error, _CONNECTION_ERRORS) else None
        self._read_at = time.monotonic()


def _by_endpoint(workers: list[_Worker]) -> dict[str, Pace | None]:
    """Return the pace of each endpoint that a worker is ready to serve."""
    found: dict[str, list[Pace]] = {}
    for worker in workers:
        for name, endpoint in worker.endpoints.items():
            if any(each.state == HostsState.READY and each.hosts for each in endpoint.versions):
                known = found.setdefault(name, [])
                if endpoint.pace is not None and endpoint.pace.hosts:
                    known.append(endpoint.pace)
    return {name: combined(known) if known else None for name, known in found.items()}


def _cold_starts(workers: list[_Worker], ready: Mapping[str, Pace | None]) -> dict[str, ColdStart]:
    """Return the loads of endpoints that no worker is ready to serve; one that has begun counts before others."""
    found: dict[str, ColdStart] = {}
    for worker in workers:
        for name, endpoint in worker.endpoints.items():
            for each in endpoint.versions:
                began = each.woken_at is not None and each.state == HostsState.LOADING
                if name in ready or not (began or each.state == HostsState.ASLEEP):
                    continue
                if name not in found or began:
                    load_s = None if each.load_ms is None else each.load_ms / 1000
                    pace = None if endpoint.pace is None else msgspec.structs.replace(endpoint.pace, hosts=1)
                    found[name] = ColdStart(load_s, each.woken_at if began else None, pace)
    return found


@lru_cache(maxsize=1)
def default_paces() -> Paces:
    """Return the paces of this process."""
    return Paces()


#: Reasons for a missing estimate.
NO_READY_WORKER, NOT_MEASURED, PARKED = "no_ready_worker", "not_measured", "parked"
#: The reason of an estimate that includes a load: the endpoint has no hosts, and jobs have it loaded.
LOADING = "loading"


class QueuePosition(msgspec.Struct, frozen=True):
    """The position of a queued job: the number of unfinished jobs before it, and the estimated wait."""

    position: int
    #: None if it is unknown; `reason` is the cause. With the reason `loading` it includes the load, if that is known.
    estimated_wait_s: float | None = None
    reason: str | None = None
    #: Estimated time until its end (s).
    ends_in_s: float | None = None

    def document(self) -> dict[str, object]:
        """Return the JSON document of the HTTP API."""
        return {"position": self.position, "estimated_wait_s": self.estimated_wait_s, "reason": self.reason}


def _loading_position(position: int, cold: ColdStart) -> QueuePosition:
    wait_s = cold.wait_s(position, time.time())
    if wait_s is None:
        return QueuePosition(position, reason=LOADING)
    batch_s = cold.pace.batch_s(max(1.0, position)) if cold.pace is not None else 0.0
    return QueuePosition(position, round(wait_s, 3), LOADING, ends_in_s=wait_s + batch_s)


def queue_position(endpoint_name: str, ahead: JobsAhead) -> QueuePosition:
    """Return the queue position of a job behind these jobs."""
    position = ahead.position
    pace, ready = default_paces().of(endpoint_name)
    if not ready and (cold := default_paces().cold_start(endpoint_name)) is not None:
        return _loading_position(position, cold)
    if pace is None:
        return QueuePosition(position, reason=NOT_MEASURED if ready else NO_READY_WORKER)
    wait_s = pace.wait_s(position, sum(ahead.others.values()) if not position else 0)
    if wait_s is None:
        return QueuePosition(position, reason=NOT_MEASURED)
    return QueuePosition(position, round(wait_s, 3), ends_in_s=wait_s + pace.batch_s(max(1.0, position / pace.hosts)))
