"""Hashes in Redis with data of each deployment, for processes that don't read the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis.asyncio import Redis

from workers.platform.lua import Lua, script

_WRITE = Lua("workers.engine.upkeep", "write_hash")


async def update(client: Redis, key: str, new: Mapping[str, str | int], gone: Sequence[str]) -> None:
    """Write the `new` fields of a hash, even if Redis is full, and remove those that are `gone`.

    Raises:
        RedisError: Redis can't be reached, or refuses the command.
    """
    if new:
        await script(client, _WRITE)([key], [value for field in new.items() for value in field])
    if gone:
        await client.hdel(key, *gone)
