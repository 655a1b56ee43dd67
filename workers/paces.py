"""How fast the workers serve each endpoint, as they have measured it, and how long a job waits at that pace."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping
from functools import lru_cache

import msgspec
import redis

from workers import reports
from workers.places import Line
from workers.redis_client import records_client
from workers.reports import HostsState

_log = logging.getLogger(__name__)

#: How long reports are used that have been read; workers write theirs every few seconds.
_FRESH_S = 1.0
#: Those that are older than this are not used while somebody else reads new ones.
_USABLE_S = 5.0
#: Workers whose largest batches were less than this share of another's know too little of large ones.
_KNOWS_ENOUGH = 0.5


class Pace(msgspec.Struct, frozen=True):
    """The pace of one worker at an endpoint, or that of all of them together; as `reports.PaceReport`."""

    hosts: int
    batch_jobs: float
    fixed_ms: float
    job_ms: float
    known_jobs: float

    def batch_s(self, jobs: float) -> float:
        """Return how long a batch of so many jobs takes."""
        return (self.fixed_ms + self.job_ms * min(jobs, self.batch_jobs)) / 1000

    @property
    def jobs_per_s(self) -> float:
        """How many jobs are done in a second while many wait, in batches as large as is known."""
        jobs = max(1.0, min(self.batch_jobs, self.known_jobs))
        return self.hosts * jobs / max(self.batch_s(jobs), 1e-6)

    def wait_s(self, before: int, others: int = 0) -> float | None:
        """Return how long a job waits for a host behind `before` jobs, while `others` may run; None if unknown.

        A host that is free takes it at once. Of those that are all busy the first one is free after a part of a
        batch, 1 / (hosts + 1) on average, and then one at each end of a batch. What waits makes full batches.
        """
        if before + others < self.hosts:
            return 0.0
        jobs = min(self.batch_jobs, max(1.0, (before + others) / self.hosts))
        if jobs > self.known_jobs:
            return None
        full_batches = math.floor(max(0.0, before / self.batch_jobs - self.hosts))
        return self.batch_s(jobs) / (self.hosts + 1) + full_batches * self.batch_s(self.batch_jobs) / self.hosts


def together(paces: list[Pace]) -> Pace:
    """Return the pace of several workers: all their hosts, each as fast as those that know most are on average."""
    most = max(each.known_jobs for each in paces)
    knowing = [each for each in paces if each.known_jobs >= _KNOWS_ENOUGH * most]
    hosts = sum(each.hosts for each in knowing)

    def mean(name: str) -> float:
        return sum(float(getattr(each, name)) * each.hosts for each in knowing) / hosts

    return Pace(sum(each.hosts for each in paces), mean("batch_jobs"), mean("fixed_ms"), mean("job_ms"), most)


class _Version(msgspec.Struct):
    state: str
    hosts: int


class _Endpoint(msgspec.Struct):
    versions: list[_Version]
    pace: Pace | None = None


class _Worker(msgspec.Struct):
    endpoints: dict[str, _Endpoint]


_decode = msgspec.json.Decoder(_Worker).decode


class Paces:
    """The paces of all endpoints, read again when somebody asks and they are a second old; safe in many threads."""

    def __init__(self) -> None:
        self._paces: Mapping[str, Pace | None] = {}
        self._read_at = -math.inf
        self._reading = threading.Lock()

    def of(self, endpoint_name: str) -> tuple[Pace | None, bool]:
        """Return the pace of an endpoint, None if it is unknown, and whether any worker is ready to serve it."""
        age_s = time.monotonic() - self._read_at
        if age_s > _FRESH_S and self._reading.acquire(blocking=age_s > _USABLE_S):
            try:
                if time.monotonic() - self._read_at > _FRESH_S:
                    self._read()
            finally:
                self._reading.release()
        return self._paces.get(endpoint_name), endpoint_name in self._paces

    def _read(self) -> None:
        try:
            with records_client().pipeline(transaction=False) as pipeline:
                reports.ask(pipeline)
                answers = pipeline.execute()
            self._paces = _by_endpoint([_decode(each) for each in reports.alive(answers)])
        except (redis.RedisError, OSError, msgspec.MsgspecError) as error:
            # Nobody's job or look fails because nobody knows how long it will take.
            _log.warning("can't read how fast the workers are (%s)", error)
            self._paces = {}
        self._read_at = time.monotonic()


def _by_endpoint(workers: list[_Worker]) -> dict[str, Pace | None]:
    """The pace of each endpoint that a worker is ready to serve."""
    found: dict[str, list[Pace]] = {}
    for worker in workers:
        for name, endpoint in worker.endpoints.items():
            if any(each.state == HostsState.READY and each.hosts for each in endpoint.versions):
                known = found.setdefault(name, [])
                if endpoint.pace is not None and endpoint.pace.hosts:
                    known.append(endpoint.pace)
    return {name: together(known) if known else None for name, known in found.items()}


@lru_cache(maxsize=1)
def default_paces() -> Paces:
    """Return what this process knows."""
    return Paces()


#: Why there is no estimate.
NO_READY_WORKER, NOT_MEASURED, PARKED = "no_ready_worker", "not_measured", "parked"


class Place(msgspec.Struct, frozen=True):
    """The place of a queued job: how many unfinished jobs go before it, and how long it will take to begin."""

    position: int
    #: None if nobody can know; `reason` says why.
    estimated_wait_s: float | None = None
    reason: str | None = None
    #: In how many seconds it should have ended.
    ends_in_s: float | None = None

    def document(self) -> dict[str, object]:
        """Return it as the HTTP API shows it."""
        return {"position": self.position, "estimated_wait_s": self.estimated_wait_s, "reason": self.reason}


def place_of(endpoint_name: str, line: Line) -> Place:
    """Return the place of a job that has this before it."""
    position = line.position
    pace, ready = default_paces().of(endpoint_name)
    if pace is None:
        return Place(position, reason=NOT_MEASURED if ready else NO_READY_WORKER)
    wait_s = pace.wait_s(position, sum(line.others.values()) if not position else 0)
    if wait_s is None:
        return Place(position, reason=NOT_MEASURED)
    return Place(position, round(wait_s, 3), ends_in_s=wait_s + pace.batch_s(max(1.0, position / pace.hosts)))
