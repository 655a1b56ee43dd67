"""The places of queued jobs: how many jobs workers take before each, all in one look, however long the queue.

What is counted are jobs that have not ended, so those that run are among them. A script of Redis counts, by
`unfinished` and by `levels`, in which jobs stand that are not normal: with RabbitMQ it is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from workers import keys
from workers.priorities import ORDERS, ROUND, Priority
from workers.redis_client import records_client, script

#: Lua function: how many high jobs an endpoint has, and how many low ones; `levels` is its key.
LEVELS_OF = """
local function levels_of(levels)
  local all = redis.call('ZCARD', levels)
  if all == 0 then return 0, 0 end
  local highs = redis.call('ZCOUNT', levels, '-inf', 0)
  return highs, all - highs
end
"""

#: KEYS: unfinished, levels. ARGV: ids of jobs that are queued.
#: Returns how many jobs are unfinished, and of them high and low; then of each job its level (-1 high, 1 low) and how
#: many of its level were submitted before it (-1 if it is not there).
#: A worker of an earlier release leaves ended jobs in `levels`: they go when they are the oldest.
_READ = (
    LEVELS_OF
    + """
local unfinished, levels = KEYS[1], KEYS[2]
local function tidy(the_oldest)
  for _ = 1, 200 do
    local oldest = the_oldest()[1]
    if not oldest or redis.call('ZSCORE', unfinished, oldest) then return end
    redis.call('ZREM', levels, oldest)
  end
end
local several = redis.call('EXISTS', levels) == 1
if several then
  tidy(function() return redis.call('ZREVRANGEBYSCORE', levels, 0, '-inf', 'LIMIT', 0, 1) end)
  tidy(function() return redis.call('ZRANGEBYSCORE', levels, 0, '+inf', 'LIMIT', 0, 1) end)
end
local highs, lows = levels_of(levels)
local answers = {redis.call('ZCARD', unfinished), highs, lows}
for i, job_id in ipairs(ARGV) do
  local level, before = 0, redis.call('ZRANK', unfinished, job_id) or -1
  if several and before >= 0 then
    local own = redis.call('ZSCORE', levels, job_id)
    local at = redis.call('ZSCORE', unfinished, job_id)
    if own and tonumber(own) < 0 then
      level, before = -1, redis.call('ZCOUNT', levels, '(' .. own, 0)
    elseif own then
      level, before = 1, redis.call('ZCOUNT', levels, 0, '(' .. own)
    else
      before = before - redis.call('ZCOUNT', levels, '(-' .. at, 0) - redis.call('ZCOUNT', levels, 0, '(' .. at)
    end
  end
  answers[2 * i + 2], answers[2 * i + 3] = level, before
end
return answers
"""
)
#: Redis does nothing else meanwhile: for about a millisecond.
_LOOKED_AT_ONCE = 100
_LEVELS = {-1: Priority.HIGH, 0: Priority.NORMAL, 1: Priority.LOW}


def level_score(level: Priority, submitted_at: float) -> float | str:
    """Return under what a job stands in `levels`; "" for a normal one, which doesn't."""
    if level is Priority.NORMAL:
        return ""
    return -submitted_at if level is Priority.HIGH else submitted_at


@dataclass(frozen=True, slots=True)
class Line:
    """The jobs of an endpoint that have not ended, as one of them that is queued sees them."""

    level: Priority
    #: Of its own level, those that were submitted before it.
    before: int
    #: Those of the other levels, whenever they were submitted.
    others: Mapping[Priority, int]

    @classmethod
    def of(cls, level: Priority, before: int, unfinished: int, highs: int, lows: int) -> Line:
        """Return what follows from the counts of all levels."""
        counts = {Priority.HIGH: highs, Priority.NORMAL: max(0, unfinished - highs - lows), Priority.LOW: lows}
        return cls(level, max(0, before), {each: count for each, count in counts.items() if each is not level})

    @property
    def position(self) -> int:
        """How many of these jobs are taken before it: of several levels, each in its turns (`priorities`)."""
        left: dict[Priority, float] = {each: count for each, count in self.others.items() if count}
        left[self.level] = self.before + 1
        taken = 0.0
        while len(left) > 1:
            share = _shares(frozenset(left))
            turns, used_up = min((left[each] / share[each], each) for each in left)
            if used_up is self.level:
                return round(taken + turns) - 1
            taken += turns
            left = {each: count - turns * share[each] for each, count in left.items() if each is not used_up}
        return round(taken + left[self.level]) - 1


@lru_cache(maxsize=8)
def _shares(levels: frozenset[Priority]) -> dict[Priority, float]:
    """Of the jobs that are taken while these levels wait, the share of each."""
    turns = Counter(next(each for each in order if each in levels) for order in ORDERS)
    return {each: count / ROUND for each, count in turns.items()}


def read(endpoint_name: str, job_ids: Sequence[str]) -> dict[str, Line]:
    """Return what is before each of these jobs; those that have ended meanwhile are left out.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    names = [keys.unfinished(endpoint_name), keys.levels(endpoint_name)]
    lines: dict[str, Line] = {}
    for start in range(0, len(job_ids), _LOOKED_AT_ONCE):
        page = job_ids[start : start + _LOOKED_AT_ONCE]
        answer: list[int] = script(records_client(), _READ)(names, page)
        unfinished, highs, lows = answer[:3]
        for job_id, level, before in zip(page, answer[3::2], answer[4::2], strict=True):
            if before >= 0:
                lines[job_id] = Line.of(_LEVELS[level], before, unfinished, highs, lows)
    return lines
