"""Decides whether a version gets another host or loses one; pure functions over what is seen at each look.

Jobs that wait longer than the target ask for another host. It stays only if the hosts together get through more rows
than before: on a full processor they don't, then it is taken back and not tried again for a while. Hosts that were
spare all the time end after `idle_s`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: The rate of rows is measured over at least this time (s), and so many batches of each host.
MEASURED_S = 2.0
MEASURED_BATCHES = 3
#: Slow models are measured over fewer batches once this much time has passed (s).
LONGEST_MEASURE_S = 60.0
#: The share of its part of the work that another host has to add: with n hosts, the rate has to rise by a factor of
#: 1 + share / n. Measurements of a busy machine differ by less.
_NEEDED_SHARE = 0.3
_LEAST_RISE = 1.05
#: A host that was taken back is not tried again for this long (s), doubled with each further time.
REFUSED_S = 60.0
_LONGEST_REFUSED_S = 1_800.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """The settings of a deployment that bound its hosts."""

    first: int
    most: int
    target_wait_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a version's hosts at one look."""

    #: Monotonic (s).
    now: float
    #: The hosts that there should be, those with their model, and those that have jobs.
    hosts: int
    ready: int
    busy: int
    #: The estimated wait of a job that is submitted now (s); None if it is unknown.
    wait_s: float | None
    #: The rows and batches that have ended since the hosts were started.
    rows: int
    batches: int
    #: Whether a missing host has failed.
    failed: bool = False
    #: Whether there is memory for another host, and a GPU if it needs one.
    has_room: bool = True
    #: Whether a missing host waits for them.
    lacks_room: bool = False


@dataclass(frozen=True, slots=True)
class Growth:
    """What is remembered from look to look."""

    #: When the measurement of the rate began, and what had ended then; None while none is made.
    measured_from: Sight | None = None
    #: The rows per second before another host was added; None if none is on trial.
    rate_before: float | None = None
    #: No host is added before this (monotonic, s), after so many that were taken back.
    refused_until: float = 0.0
    refusals: int = 0
    #: Since when there is a spare host, and the most hosts that were busy at once since then.
    spare_since: float | None = None
    most_busy: int = 0


def decide(growth: Growth, sight: Sight, bounds: Bounds) -> tuple[Growth, int]:
    """Return what to remember, and how many hosts there should be."""
    bounded = min(max(sight.hosts, bounds.first), bounds.most)
    if bounded != sight.hosts:
        return Growth(refused_until=growth.refused_until, refusals=growth.refusals), bounded
    if sight.failed and sight.hosts > bounds.first:
        return _taken_back(growth, sight), max(bounds.first, sight.ready)
    if sight.wait_s is not None and sight.wait_s > bounds.target_wait_s:
        return _grown(replace(growth, spare_since=None), sight, bounds)
    # What is on trial stays until it is spare: the wait is as it should be.
    return _shrunk(replace(growth, measured_from=None, rate_before=None), sight, bounds)


def is_short(growth: Growth, sight: Sight, bounds: Bounds) -> bool:
    """Whether jobs wait too long although the version has all hosts that it can have on this worker."""
    if sight.wait_s is None or sight.wait_s <= bounds.target_wait_s:
        return False
    if sight.ready < sight.hosts:
        return sight.lacks_room
    return sight.hosts >= bounds.most or sight.now < growth.refused_until or not sight.has_room


def needed_rise(hosts_before: int) -> float:
    """Return the factor by which the rate has to rise with one host more than so many."""
    return max(_LEAST_RISE, 1 + _NEEDED_SHARE / hosts_before)


def _grown(growth: Growth, sight: Sight, bounds: Bounds) -> tuple[Growth, int]:
    start = growth.measured_from
    if sight.ready < sight.hosts:
        return replace(growth, measured_from=None), sight.hosts
    if start is None:
        return replace(growth, measured_from=sight), sight.hosts
    if not _is_measured(start, sight):
        return growth, sight.hosts
    rate = (sight.rows - start.rows) / (sight.now - start.now)
    if growth.rate_before is not None and rate < growth.rate_before * needed_rise(sight.hosts - 1):
        return _taken_back(growth, sight), max(bounds.first, sight.hosts - 1)
    proved = replace(growth, rate_before=None, refusals=0 if growth.rate_before is not None else growth.refusals)
    if sight.hosts >= bounds.most or sight.now < growth.refused_until or not sight.has_room:
        return replace(proved, measured_from=sight), sight.hosts
    return replace(proved, measured_from=None, rate_before=rate), sight.hosts + 1


def _is_measured(start: Sight, sight: Sight) -> bool:
    took_s, batches = sight.now - start.now, sight.batches - start.batches
    enough = batches >= MEASURED_BATCHES * sight.hosts
    return took_s >= MEASURED_S and (enough or (took_s >= LONGEST_MEASURE_S and batches >= sight.hosts))


def _taken_back(growth: Growth, sight: Sight) -> Growth:
    pause_s = min(REFUSED_S * 2**growth.refusals, _LONGEST_REFUSED_S)
    return Growth(refused_until=sight.now + pause_s, refusals=growth.refusals + 1)


def _shrunk(growth: Growth, sight: Sight, bounds: Bounds) -> tuple[Growth, int]:
    if sight.busy >= sight.hosts or sight.hosts <= bounds.first:
        return replace(growth, spare_since=None), sight.hosts
    if growth.spare_since is None:
        return replace(growth, spare_since=sight.now, most_busy=sight.busy), sight.hosts
    most_busy = max(growth.most_busy, sight.busy)
    if sight.now - growth.spare_since < bounds.idle_s:
        return replace(growth, most_busy=most_busy), sight.hosts
    return replace(growth, spare_since=None), max(bounds.first, most_busy)
