"""How many jobs wait in the queues, and for how long the oldest of each has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from workers import keys, rabbitmq
from workers.keys import SUBMITTED_AT_HEADER
from workers.queues import LUA_LISTS, queue_name, queue_names
from workers.redis_client import queue_client, records_client, script, translated_errors
from workers.settings import load

#: KEYS: queues. Returns for each how many wait in it and in those beside it, of all priorities, and when the oldest
#: of those that are next was submitted ("" if it is not known, as of a message that is none);
#: the time is cut out here, so that a large message doesn't travel for it.
_READ = f"""
local answers = {{}}
for _, queue in ipairs(KEYS) do
  local depth, oldest = 0, ''
  for _, suffixes in pairs({LUA_LISTS}) do
    for _, suffix in ipairs(suffixes) do
      local length = redis.call('LLEN', queue .. suffix)
      if length > 0 then
        local head = redis.call('LINDEX', queue .. suffix, -1)
        local at = string.match(head, '"{SUBMITTED_AT_HEADER}": ?([%d.]+)')
        if tonumber(at or '') and (oldest == '' or tonumber(at) < tonumber(oldest)) then oldest = at end
        depth = depth + length
      end
    end
  end
  answers[#answers + 1] = depth
  answers[#answers + 1] = oldest
end
return answers
"""

#: KEYS: leases, then unfinished of each endpoint. ARGV: how many jobs to look at.
#: Returns for each the time of its oldest job that no worker holds ("" if it has none). For a broker that
#: doesn't show what is in its queues.
_OLDEST = """
local answers = {}
for i = 2, #KEYS do
  answers[i - 1] = ''
  local jobs = redis.call('ZRANGE', KEYS[i], 0, ARGV[1] - 1, 'WITHSCORES')
  for j = 1, #jobs, 2 do
    if not redis.call('ZSCORE', KEYS[1], jobs[j]) then
      answers[i - 1] = jobs[j + 1]
      break
    end
  end
end
return answers
"""
#: More than workers hold of one endpoint.
_LOOKED_AT = 2_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """The jobs of one endpoint that no worker has fetched yet."""

    depth: int
    oldest_age_s: float | None


def read(endpoint_names: Sequence[str]) -> dict[str, Backlog]:
    """Return the backlog of each endpoint: on Redis in one round trip, on RabbitMQ with three questions for each.

    Raises:
        redis.RedisError, kombu.exceptions.OperationalError: what is asked can't be reached.
    """
    if not endpoint_names:
        return {}
    if load().broker_is_amqp:
        depth_of = rabbitmq.depths([queue for name in endpoint_names for queue in queue_names(name)])
        depths: Sequence[int] = [sum(depth_of[queue] for queue in queue_names(name)) for name in endpoint_names]
        unfinished = [keys.unfinished(name) for name in endpoint_names]
        oldest_at = script(records_client(), _OLDEST)([keys.LEASES, *unfinished], [_LOOKED_AT])
    else:
        answers = script(queue_client(), _READ)([queue_name(name) for name in endpoint_names])
        depths, oldest_at = answers[::2], answers[1::2]
    now = time.time()
    return {
        name: Backlog(depth, round(max(0.0, now - float(at)), 3) if at and depth else None)
        for name, depth, at in zip(endpoint_names, depths, oldest_at, strict=True)
    }


def unfinished(endpoint_names: Sequence[str]) -> list[int]:
    """Return how many jobs of each endpoint have a record and have not ended: they wait, of any priority, or run.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors(), records_client().pipeline(transaction=False) as pipeline:
        for name in endpoint_names:
            pipeline.zcard(keys.unfinished(name))
        return [int(count) for count in pipeline.execute()]
