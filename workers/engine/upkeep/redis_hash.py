"""Hashes in Redis with data of each deployment, for processes that don't read the registry."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence

from redis.asyncio import Redis

from workers.platform.lua import Lua, script

_WRITE = Lua("workers.engine.upkeep", "write_hash")
#: How often everything is written again, in case Redis has lost it.
_WRITE_AGAIN_S = 15.0


class KeptHash:
    """One worker's fields of a hash, of which it writes those that have changed."""

    def __init__(self, client: Redis, key: str) -> None:
        self._client = client
        self._key = key
        #: What is in Redis; None for a field that isn't.
        self._written: dict[str, str | int | None] = {}
        self._began_at = -math.inf

    async def keep(self, new: Mapping[str, str | int], gone: Iterable[str]) -> None:
        """Let the hash have the `new` fields, and none of those that are `gone`. Raises as `update` does."""
        if (now := time.monotonic()) - self._began_at > _WRITE_AGAIN_S:
            self._written, self._began_at = {}, now
        wanted: dict[str, str | int | None] = {**dict.fromkeys(gone), **new}
        known = self._written
        changed = {field: value for field, value in wanted.items() if field not in known or known[field] != value}
        written = {field: value for field, value in changed.items() if value is not None}
        self._written = {}  # until Redis has taken it
        await update(self._client, self._key, written, [field for field in changed if field not in written])
        self._written = wanted


async def update(client: Redis, key: str, new: Mapping[str, str | int], gone: Sequence[str]) -> None:
    """Write the `new` fields of a hash, even if Redis is full, and remove those that are `gone`.

    Raises:
        RedisError: Redis can't be reached, or refuses the command.
    """
    if new:
        await script(client, _WRITE)([key], [value for field in new.items() for value in field])
    if gone:
        await client.hdel(key, *gone)
