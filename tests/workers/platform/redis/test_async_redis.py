"""The engine's connections to Redis: what they send is what redis-py itself would send."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from workers.platform.redis import async_client as async_redis

COMMANDS: list[tuple[Any, ...]] = [
    ("PING",),
    ("CONFIG GET", "notify-keyspace-events"),
    ("SET", "key", b"\x00\xff", "EX", 10),
    ("ZADD", "key", 1732443900.123456789, "mémber"),
    ("EVALSHA", "0" * 40, 2, "a", "b", "", -1, 0.1, 1e300),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
async def test_commands_are_written_as_redis_py_writes_them(redis_url: str, command: tuple[Any, ...]) -> None:
    async with async_redis.connect(redis_url) as client, redis.asyncio.Redis.from_url(redis_url) as plain:
        ours, theirs = (each.connection_pool.make_connection() for each in (client, plain))  # type: ignore[no-untyped-call]
        assert b"".join(ours.pack_command(*command)) == b"".join(theirs.pack_command(*command))


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://127.0.0.1:1/0", Connection),
        ("rediss://127.0.0.1:1/0", SSLConnection),
        ("unix:///nowhere.sock", UnixDomainSocketConnection),
    ],
)
def test_the_url_says_what_kind_of_connection_it_is(url: str, kind: type) -> None:
    assert issubclass(async_redis.connect(url).connection_pool.connection_class, kind)
