"""Hashes with data of each deployment."""

from __future__ import annotations

import pytest
import redis
from redis.asyncio import Redis

from tests.workers.conftest import WithRedis
from workers.engine.upkeep import redis_hash
from workers.engine.upkeep.redis_hash import KeptHash


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


def test_what_a_hash_has_is_not_written_again_for_a_while(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def keep(client: Redis) -> None:
        store.hset("a hash", "gone", "1")
        kept = KeptHash(client, "a hash")
        await kept.keep({"a": 1, "b": 2}, ["gone"])
        assert store.hgetall("a hash") == {b"a": b"1", b"b": b"2"}
        store.hset("a hash", mapping={"a": "other", "gone": "other"})
        await kept.keep({"a": 1, "b": 3}, ["gone"])
        assert store.hgetall("a hash") == {b"a": b"other", b"b": b"3", b"gone": b"other"}
        await kept.keep({"gone": 4}, ["b"])  # their places have changed
        assert store.hgetall("a hash") == {b"a": b"other", b"gone": b"4"}
        monkeypatch.setattr(redis_hash, "_WRITE_AGAIN_S", 0.0)
        await kept.keep({"a": 1, "gone": 4}, ["b"])
        assert store.hgetall("a hash") == {b"a": b"1", b"gone": b"4"}

    with_redis(keep)


def test_what_redis_refused_is_written_the_next_time(store: redis.Redis, with_redis: WithRedis) -> None:
    async def keep(client: Redis) -> None:
        store.set("a hash", "of another type")
        kept = KeptHash(client, "a hash")
        with pytest.raises(redis.RedisError):
            await kept.keep({"a": 1}, [])
        store.delete("a hash")
        await kept.keep({"a": 1}, [])
        assert store.hgetall("a hash") == {b"a": b"1"}

    with_redis(keep)
