"""Positions of queued jobs: the number of jobs that workers take before each, read in one step for any queue length.

Unfinished jobs count, also running ones, but not delayed jobs before they are due. A script counts them in Redis, in
`unfinished` and in `prioritized`, which contains the jobs of high and low priority. It works the same with RabbitMQ.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from workers import keys
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client
from workers.queues.priorities import ORDERS, ROUND, Priority

#: Clocks of clients differ by less. A job whose time is further in the future than this is delayed.
CLOCK_SLACK_S = 60.0


READ = Lua("workers.measures", "read_positions")
#: Reading so many positions blocks Redis for about a millisecond.
_READ_AT_ONCE = 100
_NO_OTHERS: Mapping[Priority, int] = {}
_PRIORITIES = {-1: Priority.HIGH, 0: Priority.NORMAL, 1: Priority.LOW}


def priority_sign(priority: Priority) -> int | str:
    """Return the sign of a job's score in `prioritized`; "" for a normal job, which is not in it."""
    if priority is Priority.NORMAL:
        return ""
    return -1 if priority is Priority.HIGH else 1


class JobsAhead(msgspec.Struct, frozen=True):
    """The unfinished jobs of an endpoint, from the point of view of a queued job."""

    priority: Priority
    #: Jobs of its own priority that were submitted before it.
    before: int
    #: All jobs of the other priorities.
    others: Mapping[Priority, int]

    @classmethod
    def of(cls, priority: Priority, before: int, unfinished: int, highs: int, lows: int) -> JobsAhead:
        """Build it from the counts of all priorities."""
        if priority is Priority.NORMAL and not highs and not lows:  # as nearly always
            return cls(priority, max(0, before), _NO_OTHERS)
        counts = {Priority.HIGH: highs, Priority.NORMAL: max(0, unfinished - highs - lows), Priority.LOW: lows}
        return cls(priority, max(0, before), {each: count for each, count in counts.items() if each is not priority})

    @property
    def position(self) -> int:
        """The number of jobs that are taken before it; priorities take turns (`workers.queues.priorities`)."""
        if not self.others or not any(self.others.values()):
            return self.before
        left: dict[Priority, float] = {each: count for each, count in self.others.items() if count}
        left[self.priority] = self.before + 1
        taken = 0.0
        while len(left) > 1:
            share = _shares(frozenset(left))
            turns, used_up = min((left[each] / share[each], each) for each in left)
            if used_up is self.priority:
                return round(taken + turns) - 1
            taken += turns
            left = {each: count - turns * share[each] for each, count in left.items() if each is not used_up}
        return round(taken + left[self.priority]) - 1


@lru_cache(maxsize=8)
def _shares(waiting: frozenset[Priority]) -> dict[Priority, float]:
    """Return the share of each priority in the jobs that are taken while jobs of these priorities wait."""
    turns = Counter(next(each for each in order if each in waiting) for order in ORDERS)
    return {each: count / ROUND for each, count in turns.items()}


def read(endpoint_name: str, job_ids: Sequence[str]) -> dict[str, JobsAhead]:
    """Return the jobs before each of these jobs; leave out those that have ended.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    found: dict[str, JobsAhead] = {}
    for start in range(0, len(job_ids), _READ_AT_ONCE):
        page = job_ids[start : start + _READ_AT_ONCE]
        found |= parse(page, script(records_client(), READ)(*script_arguments(endpoint_name, page)))
    return found


def script_arguments(endpoint_name: str, job_ids: Sequence[str]) -> tuple[list[str], list[str | float]]:
    """Return the keys and the arguments of `read_positions.lua`."""
    return [keys.unfinished(endpoint_name), keys.prioritized(endpoint_name)], [time.time() + CLOCK_SLACK_S, *job_ids]


def parse(job_ids: Sequence[str], reply: Sequence[int]) -> dict[str, JobsAhead]:
    """Return what the script says of each of its jobs; leave out those that have ended."""
    unfinished, highs, lows = reply[:3]
    return {
        job_id: JobsAhead.of(_PRIORITIES[sign], before, unfinished, highs, lows)
        for job_id, sign, before in zip(job_ids, reply[3::2], reply[4::2], strict=True)
        if before >= 0
    }
