"""Hashes with data of each deployment."""

from __future__ import annotations

import redis

from tests.workers.conftest import WithRedis
from workers.engine.upkeep import redis_hash


def test_fields_are_written_and_removed_however_many_there_are(store: redis.Redis, with_redis: WithRedis) -> None:
    store.hset("a hash", mapping={"gone": "1", "kept": "2"})
    new: dict[str, str | int] = {f"endpoint-{number}": number for number in range(5_000)}
    with_redis(lambda client: redis_hash.update(client, "a hash", new, ["gone"]))
    assert store.hget("a hash", "endpoint-4999") == b"4999"
    assert store.hget("a hash", "kept") == b"2"
    assert store.hlen("a hash") == 5_001


def test_nothing_new_and_nothing_gone_writes_nothing(store: redis.Redis, with_redis: WithRedis) -> None:
    with_redis(lambda client: redis_hash.update(client, "a hash", {}, []))
    assert not store.exists("a hash")
