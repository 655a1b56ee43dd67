"""Taking messages from queues under a lease, in Redis: each step is one script, so nothing is in between.

A message is popped and registered as leased atomically. Its worker renews the lease while it lives;
what a worker leaves behind when it dies goes back to its queue once its lease has run out, and how
often that happened stays with the message. Times are Redis's own, so that no two clocks disagree.
(kombu's Redis transport pops first and registers later, and loses what a `kill -9` finds in between.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from workers import keys
from workers.queues import queue_name

_NOW = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
"""

#: A message's own tag, the same each time that it is fetched.
_TAG = """
local function tag_of(message)
  return string.match(message, '"delivery_tag": ?"([^"]+)"') or redis.sha1hex(message)
end
"""

#: KEYS: leases, leased, lost leases, queues. ARGV: seconds, then how many to take of each queue.
#: Returns index of the queue, tag, message, lost leases; again and again.
_FETCH = (
    _NOW
    + _TAG
    + """
local taken = {}
for i = 4, #KEYS do
  for _, message in ipairs(redis.call('RPOP', KEYS[i], ARGV[i - 2]) or {}) do
    local tag = tag_of(message)
    redis.call('ZADD', KEYS[1], now + ARGV[1], tag)
    redis.call('HSET', KEYS[2], tag, KEYS[i] .. '\\n' .. message)
    local n = #taken
    taken[n + 1], taken[n + 2], taken[n + 3] = i - 4, tag, message
    taken[n + 4] = redis.call('HGET', KEYS[3], tag) or '0'
  end
end
return taken
"""
)

#: KEYS: leases. ARGV: seconds, tags. A lease that is gone is not taken up again.
_RENEW = (
    _NOW
    + """
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', now + ARGV[1], ARGV[i]) end
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

#: KEYS: leases, leased, lost leases. ARGV: how many at most. Returns how many leases had run out.
_EXPIRE = (
    _NOW
    + _GIVE_BACK_ONE
    + """
local tags = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, tag in ipairs(tags) do
  if give_back(tag) then redis.call('HINCRBY', KEYS[3], tag, 1) end
end
return #tags
"""
)

_EXPIRED_AT_ONCE = 100
_MALFORMED_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Leased:
    """One message that is this worker's until its lease runs out."""

    tag: str
    endpoint_name: str
    message: bytes
    lost_leases: int


class Leases:
    """The queues of one Redis."""

    def __init__(self, client: Redis, lease_s: float) -> None:
        self._client = client
        self._lease_s = lease_s

    async def fetch(self, wanted: Mapping[str, int]) -> list[Leased]:
        """Take up to so many messages of each endpoint's queue, oldest first."""
        names = list(wanted)
        queues = [queue_name(name) for name in names]
        arguments = [self._lease_s, *wanted.values()]
        script = self._client.register_script(_FETCH)
        flat = await script([keys.LEASES, keys.LEASED, keys.LOST_LEASES, *queues], arguments)
        return [
            Leased(tag.decode(), names[index], message, int(lost))
            for index, tag, message, lost in zip(*(flat[offset::4] for offset in range(4)), strict=True)
        ]

    async def ack(self, tags: Sequence[str]) -> None:
        """End leases: their jobs have terminal records."""
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.zrem(keys.LEASES, *tags)
            pipeline.hdel(keys.LEASED, *tags)
            pipeline.hdel(keys.LOST_LEASES, *tags)
            await pipeline.execute()

    async def renew(self, tags: Sequence[str]) -> None:
        """Make leases as long as new ones."""
        await self._client.register_script(_RENEW)([keys.LEASES], [self._lease_s, *tags])

    async def give_back(self, tags: Sequence[str]) -> None:
        """Put messages back where they came from, before all others."""
        await self._client.register_script(_GIVE_BACK)([keys.LEASES, keys.LEASED], tags)

    async def expire(self) -> int:
        """Give back what dead workers held; return how many messages that were."""
        script = self._client.register_script(_EXPIRE)
        names = [keys.LEASES, keys.LEASED, keys.LOST_LEASES]
        return int(await script(names, [_EXPIRED_AT_ONCE]))

    async def put_aside(self, leased: Leased) -> None:
        """Keep a message that is no job where an operator finds it, and end its lease."""
        async with self._client.pipeline(transaction=True) as pipeline:
            pipeline.lpush(keys.MALFORMED, leased.message)
            pipeline.ltrim(keys.MALFORMED, 0, _MALFORMED_KEPT - 1)
            pipeline.zrem(keys.LEASES, leased.tag)
            pipeline.hdel(keys.LEASED, leased.tag)
            await pipeline.execute()
