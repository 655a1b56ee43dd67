"""Recounts the bytes of an endpoint's unfinished jobs: see `workers.jobs.weights`."""

from __future__ import annotations

from redis.asyncio import Redis

from workers import keys
from workers.platform.lua import Lua, script

_RECOUNT = Lua("workers.engine.upkeep", "recount")

#: Redis recounts this many jobs in a few milliseconds.
_AT_MOST = 5_000


async def recount(client: Redis, endpoint_name: str) -> int:
    """Correct the counts after workers of an earlier release; return how many ended jobs were still counted.

    A queue that is too long is recounted once it is shorter.
    """
    names = [keys.weights(endpoint_name), keys.unfinished(endpoint_name)]
    return int(await script(client, _RECOUNT)(names, [_AT_MOST]))
