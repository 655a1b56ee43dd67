"""Counts of the arms of a trial, and the stream of pairs."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from tests.workers.conftest import WithRedis
from workers import keys
from workers.measures import arms
from workers.measures.arms import Arm


def test_what_is_added_is_read_again_by_arm(store: redis.Redis, with_redis: WithRedis) -> None:
    async def add(client: Redis) -> None:
        await arms.add(client, "t1", {"stable.succeeded": 3, arms.of_ms(Arm.STABLE, 12): 3})
        await arms.add(client, "t1", {"candidate.succeeded": 4, "candidate.errors": 1, "candidate.unserved": 1})
        await arms.add(client, "t1", {"candidate.fell_back": 2, arms.COPIES_SHED: 5, "later.field": 1})

    with_redis(add)
    found = arms.read("t1")
    assert (found.stable.succeeded, found.stable.ms) == (3, {12: 3})
    assert (found.candidate.met, found.candidate.failures, found.candidate.fell_back) == (3, 1, 2)
    assert found.shadow[arms.COPIES_SHED] == 5
    assert store.ttl(keys.arms("t1")) > 29 * 86_400


def test_a_trial_without_jobs_has_zeros(store: redis.Redis) -> None:
    assert arms.read("unknown").candidate.met == 0


def test_the_oldest_pairs_go_when_the_stream_is_full_and_count(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arms, "MOST_PAIRS", 100)

    async def add(client: Redis) -> None:
        for _ in range(5):
            await arms.add_pairs(client, "t1", "adding", [b"{}"] * 100)

    with_redis(add)
    dropped = arms.read("t1").shadow[arms.PAIRS_DROPPED]
    assert dropped > 0
    assert store.xlen(keys.PAIRS) + dropped == 500
    first: Any = store.xrange(keys.PAIRS, count=1)
    [(_, fields)] = first
    assert fields == {b"trial_id": b"t1", b"endpoint_name": b"adding", b"pair": b"{}"}
