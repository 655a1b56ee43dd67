"""Decides whether a worker serves an endpoint; pure functions over what the workers ranked before it report.

The first worker serves. The next one joins while all before it ask for it, and leaves after `idle_s` in which those
before it had hosts to spare. No worker leaves before another one can take the jobs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: The number of busy hosts is averaged over this time (s): older looks decay by a factor of e for each.
_AVERAGED_S = 10.0
#: Hosts that are busy for a larger share of the time have nothing to spare: waits grow fast beyond it.
_FULL_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Sight:
    """What one worker reports of an endpoint, or sees of its own."""

    #: The hosts with their model, and those that have jobs.
    hosts: int = 0
    busy_hosts: int = 0
    #: Whether it has no hosts, and takes jobs.
    is_asleep: bool = False
    #: Whether it has waiting or running jobs.
    is_busy: bool = False
    #: Whether the next worker should join: it can't serve, or jobs wait too long with all hosts that it can have.
    asks_next: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker remembers of its place at an endpoint from look to look."""

    is_placed: bool = False
    #: When the workers before it last had no hosts to spare (monotonic, s).
    needed_at: float = -math.inf
    #: The mean number of busy hosts, its own and of the workers before it.
    busy_hosts: float = 0.0
    #: Monotonic (s).
    looked_at: float = -math.inf


def decide(place: Place, before: Sequence[Sight], own: Sight, now: float, idle_s: float) -> Place:
    """Return whether a worker serves, from what the workers before it report; `now` is monotonic (s)."""
    busy = _mean(place, own.busy_hosts + sum(each.busy_hosts for each in before), now)
    if not before:
        return Place(is_placed=True, busy_hosts=busy, looked_at=now)
    if all(each.asks_next for each in before):
        return Place(is_placed=True, needed_at=now, busy_hosts=busy, looked_at=now)
    if not place.is_placed:
        return Place(busy_hosts=busy, looked_at=now)
    is_full = busy > _FULL_SHARE * max(1, sum(each.hosts for each in before))
    needed_at = now if is_full else place.needed_at
    stays = now - needed_at < idle_s or not _can_take_over(before, own)
    return Place(stays, needed_at, busy, now)


def _can_take_over(before: Sequence[Sight], own: Sight) -> bool:
    """Whether a worker has the model, or would load it for jobs that don't come now."""
    return any(each.hosts or (each.is_asleep and not own.is_busy) for each in before)


def _mean(place: Place, busy_hosts: int, now: float) -> float:
    kept = math.exp(-(now - place.looked_at) / _AVERAGED_S)
    return place.busy_hosts * kept + busy_hosts * (1 - kept)
