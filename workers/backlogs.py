"""How many jobs wait in the queues, and for how long the oldest of each has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from workers.keys import SUBMITTED_AT_HEADER
from workers.queues import queue_name
from workers.redis_client import script

#: KEYS: queues. Returns length and submit time of the oldest message ("" if it has none) of each;
#: the time is cut out here, so that a large message doesn't travel for it.
_READ = f"""
local answers = {{}}
for _, queue in ipairs(KEYS) do
  local depth = redis.call('LLEN', queue)
  local oldest = depth > 0 and redis.call('LINDEX', queue, -1)
  answers[#answers + 1] = depth
  answers[#answers + 1] = oldest and string.match(oldest, '"{SUBMITTED_AT_HEADER}": ?([%d.]+)') or ''
end
return answers
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The jobs of one endpoint that no worker has fetched yet."""

    depth: int
    oldest_age_s: float | None


def read(client: redis.Redis, endpoint_names: Sequence[str]) -> dict[str, Backlog]:
    """Return the backlog of each endpoint, in one round trip."""
    if not endpoint_names:
        return {}
    answers = script(client, _READ)([queue_name(name) for name in endpoint_names])
    now = time.time()
    return {
        name: Backlog(depth, round(max(0.0, now - float(at)), 3) if at else None)
        for name, depth, at in zip(endpoint_names, answers[::2], answers[1::2], strict=True)
    }
