"""Taking messages from queues under a lease, in Redis: each step is one script, so nothing is in between.

A message is popped and registered as leased atomically. Its worker renews the lease while it lives;
what a worker leaves behind when it dies goes back to its queue once its lease has run out. Times are
Redis's own, so that no two clocks disagree.
(kombu's Redis transport pops first and registers later, and loses what a `kill -9` finds in between.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from workers import envelopes, keys
from workers.priorities import LUA_ORDERS, ROUND, Priority
from workers.queues import LISTS, LUA_LISTS, queue_name
from workers.redis_client import EVEN_IF_FULL, script

_NOW = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
"""

#: A message's own tag, the same each time that it is fetched. The last one in it is kombu's; one before
#: it is in a header of the sender's own. (Anchored: otherwise a long message without one costs quadratic time.)
#: Printable ASCII, which is what JSON writes: other bytes could not be read, nor what was fetched with them.
_TAG = """
local function tag_of(message)
  return string.match(message, '^.*"delivery_tag": ?"([!#-~]+)"') or redis.sha1hex(message)
end
"""

#: The next message of a queue at a turn, and the list that it was in. Of the lists of a level another one goes first in
#: each round, so that none of them starves either. `empty` notes what was found so: nothing comes during a script.
_POP = f"""
local lists, orders = {LUA_LISTS}, {LUA_ORDERS}

local function names(queue, level, found)
  for _, suffix in ipairs(lists[level]) do found[#found + 1] = queue .. suffix end
  return found
end

local function pop_level(queue, level, turn, empty)
  local suffixes = lists[level]
  for i = 0, #suffixes - 1 do
    local list = queue .. suffixes[(math.floor(turn / {ROUND}) + i) % #suffixes + 1]
    local message = not empty[list] and redis.call('RPOP', list)
    if message then return message, list end
    empty[list] = true
  end
end

local function pop(queue, turn, empty)
  for _, level in ipairs(orders[turn % {ROUND} + 1]) do
    local message, list = pop_level(queue, level, turn, empty)
    if message then return message, list end
  end
end
"""

#: KEYS: leases, leased, turns, queues. ARGV: seconds, bytes after which no more are taken, then of each queue how
#: many to take, and how many more while some of high priority wait. Returns index of the queue, tag, message;
#: again and again. Where normal jobs alone wait, turns are not counted, and each job is one RPOP.
#: Each lease ends a microsecond after the one before it, so that `_EXPIRE` knows their order.
_FETCH = (
    _NOW
    + _TAG
    + _POP
    + """
local taken, left = {}, tonumber(ARGV[2])
for i = 4, #KEYS do
  local queue, wanted, more = KEYS[i], tonumber(ARGV[2 * i - 5]), tonumber(ARGV[2 * i - 4])
  local several = redis.call('EXISTS', unpack(names(queue, 'low', names(queue, 'high', {})))) > 0
  local turn, empty = several and tonumber(redis.call('HGET', KEYS[3], queue) or 0), {}
  local function wants()
    if wanted > 0 or more <= 0 or not several then return wanted > 0 end
    return redis.call('EXISTS', unpack(names(queue, 'high', {}))) > 0
  end
  while left > 0 and wants() do
    local message, list = nil, queue
    if several then
      message, list = pop(queue, turn + 1, empty)
      -- Where none is left no turn was had: the next one of its level would come too soon.
      if message then turn = turn + 1 end
    else
      message = redis.call('RPOP', queue)
    end
    if not message then break end
    local tag = tag_of(message)
    local n = #taken
    redis.call('ZADD', KEYS[1], now + ARGV[1] + n / 3e6, tag)
    redis.call('HSET', KEYS[2], tag, list .. '\\n' .. message)
    taken[n + 1], taken[n + 2], taken[n + 3] = i - 4, tag, message
    left = left - #message
    if wanted > 0 then wanted = wanted - 1 else more = more - 1 end
  end
  if several then redis.call('HSET', KEYS[3], queue, turn) end
end
return taken
"""
)

#: KEYS: leases. ARGV: seconds, tags in the order of `_FETCH`. A lease that is gone is not taken up again.
_RENEW = (
    EVEN_IF_FULL
    + _NOW
    + """
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', now + ARGV[1] + i / 1e6, ARGV[i]) end
"""
)

_GIVE_BACK_ONE = """
local function give_back(tag)
  local leased = redis.call('HGET', KEYS[2], tag)
  redis.call('ZREM', KEYS[1], tag)
  redis.call('HDEL', KEYS[2], tag)
  if leased then
    local at = string.find(leased, '\\n', 1, true)
    redis.call('RPUSH', string.sub(leased, 1, at - 1), string.sub(leased, at + 1))
  end
  return leased
end
"""

#: KEYS: leases, leased. ARGV: tags; the first of them is the next to be fetched.
_GIVE_BACK = (
    _GIVE_BACK_ONE
    + """
for i = #ARGV, 1, -1 do give_back(ARGV[i]) end
"""
)

#: KEYS: leases, leased. ARGV: how many at most. Returns how many leases had run out.
#: The last ones are given back first, so that of all, in however many steps, the oldest is next in the queue.
_EXPIRE = (
    _NOW
    + _GIVE_BACK_ONE
    + """
local tags = redis.call('ZREVRANGEBYSCORE', KEYS[1], now, '-inf', 'LIMIT', 0, ARGV[1])
for _, tag in ipairs(tags) do give_back(tag) end
return #tags
"""
)

#: KEYS: a queue. ARGV: a message.
_SEND = EVEN_IF_FULL + "redis.call('LPUSH', KEYS[1], ARGV[1])"

#: Large messages are fetched few at a time, whatever the credit.
FETCHED_AT_ONCE_BYTES = 16 * 1024 * 1024
_EXPIRED_AT_ONCE = 100
_SUBMITTED_AT = re.compile(rb'"%b": ?([\d.]+)' % keys.SUBMITTED_AT_HEADER.encode())
MALFORMED_KEPT = 1_000
_NOTHING: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class Leased:
    """One message that is this worker's until its lease runs out."""

    tag: str
    endpoint_name: str
    message: bytes


class Leases:
    """The queues of one Redis."""

    def __init__(self, client: Redis, lease_s: float) -> None:
        self._client = client
        self._lease_s = lease_s

    async def fetch(self, wanted: Mapping[str, int], more_if_high: Mapping[str, int] = _NOTHING) -> list[Leased]:
        """Take up to so many messages of each endpoint's queues: the most urgent first, of a level the oldest.

        Of each endpoint in `more_if_high` so many more are taken, while any of high priority wait. Priorities have
        turns (`workers.priorities`), so that of every ten one is the next of each level.
        """
        names = list(dict.fromkeys([*wanted, *more_if_high]))
        queues = [queue_name(name) for name in names]
        counts = [count for name in names for count in (wanted.get(name, 0), more_if_high.get(name, 0))]
        arguments = [self._lease_s, FETCHED_AT_ONCE_BYTES, *counts]
        flat = await script(self._client, _FETCH)([keys.LEASES, keys.LEASED, keys.TURNS, *queues], arguments)
        return [
            Leased(tag.decode(), names[index], message)
            for index, tag, message in zip(*(flat[offset::3] for offset in range(3)), strict=True)
        ]

    async def ack(self, tags: Sequence[str]) -> None:
        """End leases: their jobs have terminal records."""
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.zrem(keys.LEASES, *tags)
            pipeline.hdel(keys.LEASED, *tags)
            await pipeline.execute()

    async def renew(self, tags: Sequence[str]) -> None:
        """Make leases as long as new ones."""
        await script(self._client, _RENEW)([keys.LEASES], [self._lease_s, *tags])

    async def give_back(self, tags: Sequence[str]) -> None:
        """Put messages back where they came from, before all others."""
        await script(self._client, _GIVE_BACK)([keys.LEASES, keys.LEASED], tags)

    async def expire(self) -> int:
        """Give back what dead workers held; return how many messages that were."""
        return int(await script(self._client, _EXPIRE)([keys.LEASES, keys.LEASED], [_EXPIRED_AT_ONCE]))

    async def oldest_at(self, endpoint_name: str) -> float | None:
        """Return when the oldest of the messages that are next was submitted (s).

        There is one for each priority. None if there is no message, 0 if nobody knows.
        """
        name = queue_name(endpoint_name)
        async with self._client.pipeline(transaction=False) as pipeline:
            for suffix in (suffix for level in Priority for suffix in LISTS[level]):
                pipeline.lindex(name + suffix, -1)
            heads = await pipeline.execute()
        return min((_submitted_at(message) for message in heads if message is not None), default=None)

    async def without_lease(self, job_ids: Sequence[str]) -> list[str]:
        """Return those of the jobs that no worker holds; a job's id is its message's tag."""
        if not job_ids:
            return []
        runs_out_at = await self._client.zmscore(keys.LEASES, list(job_ids))
        return [job_id for job_id, at in zip(job_ids, runs_out_at, strict=True) if at is None]

    async def send(self, endpoint_name: str, message: bytes) -> None:
        """Put a message at the end of the queue of its priority."""
        queue = queue_name(endpoint_name, envelopes.decode(message).priority)
        await script(self._client, _SEND)([queue], [message])

    async def put_aside(self, leased: Leased) -> None:
        """Keep a message that is no job where an operator finds it, and end its lease."""
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.lpush(keys.MALFORMED, leased.message)
            pipeline.ltrim(keys.MALFORMED, 0, MALFORMED_KEPT - 1)
            pipeline.zrem(keys.LEASES, leased.tag)
            pipeline.hdel(keys.LEASED, leased.tag)
            await pipeline.execute()


def _submitted_at(message: bytes) -> float:
    found = _SUBMITTED_AT.search(message)
    try:
        return float(found[1]) if found else 0.0
    except ValueError:  # what is no message needn't have a time
        return 0.0
