"""Group commit: submits of many clients share a call of the script, and each gets the answer it would get alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest
import redis

from tests.support.waiting import eventually
from tests.workers.jobs.conftest import LoopDesk
from workers import keys
from workers.embedded_redis.server import EmbeddedRedis
from workers.errors import IdempotencyConflict, JobUnconfirmed, QueueFull, QueueStoreFull, QueueUnavailable
from workers.jobs import bulk, query
from workers.jobs.accept import Idempotency, Limits
from workers.jobs.job import NO_OPTIONS, JobOptions
from workers.jobs.on_loop import commits, scripts
from workers.jobs.query import JobState, JobView
from workers.queues.naming import queue_name
from workers.queues.priorities import Priority

NO_LIMITS = Limits()
Answer = JobView | BaseException


def submit(
    loop_desk: LoopDesk,
    row: Any,
    limits: Limits = NO_LIMITS,
    idempotency: Idempotency | None = None,
    owner: str | None = None,
    options: JobOptions = NO_OPTIONS,
    endpoint_name: str = "adding",
) -> Awaitable[JobView]:
    return loop_desk.desk.submit(endpoint_name, {"input": row}, limits, idempotency, owner, options)


def together(loop_desk: LoopDesk, *submits: Awaitable[JobView]) -> list[Answer]:
    """Submit all in one turn of the loop."""

    async def all_of_them() -> list[Answer]:
        return await asyncio.gather(*submits, return_exceptions=True)

    return loop_desk.run(all_of_them())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many calls of a script each round trip has."""
    counts: list[int] = []
    run = scripts.run

    async def counting(client: Any, source: Any, calls: Sequence[Any], **more: Any) -> list[Any]:
        counts.append(len(calls))
        return await run(client, source, calls, **more)

    monkeypatch.setattr(scripts, "run", counting)
    return counts


def test_submits_of_one_turn_are_one_call_in_their_order(
    store: redis.Redis, loop_desk: LoopDesk, calls: list[int]
) -> None:
    answers = together(loop_desk, *(submit(loop_desk, row) for row in range(50)))
    assert calls == [1]
    jobs = [each for each in answers if isinstance(each, JobView)]
    assert [job.queue_position.position for job in jobs if job.queue_position] == list(range(50))
    queued = reversed(store.lrange(queue_name("adding", Priority.NORMAL), 0, -1))
    assert [json.loads(each)["headers"]["id"] for each in queued] == [job.job_id for job in jobs]
    assert [query.get(job.job_id).state for job in jobs] == [JobState.QUEUED] * 50


def test_refused_conflicting_and_oversized_submits_spoil_no_other_one_of_their_turn(
    store: redis.Redis, loop_desk: LoopDesk
) -> None:
    for key in ("used", "again"):
        loop_desk.run(submit(loop_desk, key, idempotency=Idempotency(key, key.encode())))  # type: ignore[arg-type]
    store.rpush(keys.unfinished("spoilt"), "a list")
    bytes_of_a_job = 20_000
    few, small = Limits(max_queue_length=3), Limits(max_queue_bytes=bytes_of_a_job)
    wanted = {
        "good": submit(loop_desk, 1),
        "conflict": submit(loop_desk, 2, idempotency=Idempotency("used", b"another request")),
        "repeated": submit(loop_desk, 3, idempotency=Idempotency("again", b"again")),
        "fits": submit(loop_desk, "x", small, endpoint_name="small"),
        "oversized": submit(loop_desk, "x" * 2 * bytes_of_a_job, small, endpoint_name="small"),
        **{f"few {n}": submit(loop_desk, n, few, endpoint_name="few") for n in range(5)},
        "spoilt": submit(loop_desk, 4, endpoint_name="spoilt"),
        "not JSON": submit(loop_desk, object()),
        "own": submit(loop_desk, 5, owner="shop"),
        "high": submit(loop_desk, 6, options=JobOptions(priority=Priority.HIGH)),
        "new key": submit(loop_desk, 7, idempotency=Idempotency("new", b"new")),
        "last": submit(loop_desk, 8),
    }
    answers = dict(zip(wanted, together(loop_desk, *wanted.values()), strict=True))
    errors = {name: type(each).__name__ for name, each in answers.items() if not isinstance(each, JobView)}
    assert errors == {
        "conflict": "IdempotencyConflict",
        "oversized": "QueueFull",
        "few 3": "QueueFull",
        "few 4": "QueueFull",
        "spoilt": "QueueUnavailable",
        "not JSON": "JobArgumentsWrong",
    }
    accepted = {name: each.job_id for name, each in answers.items() if isinstance(each, JobView)}
    assert len(set(accepted.values())) == len(accepted)
    assert all(query.get(job_id).state is JobState.QUEUED for job_id in accepted.values())
    assert store.zcard(keys.unfinished("few")) == 3
    assert store.llen(queue_name("small", Priority.NORMAL)) == 1
    shop = query.get(accepted["own"])
    assert shop.owner == "shop"


def test_the_answers_of_a_turn_are_those_of_single_submits(store: redis.Redis, loop_desk: LoopDesk) -> None:
    priorities = [Priority.NORMAL, Priority.HIGH, Priority.LOW, Priority.HIGH, Priority.NORMAL]
    options = [JobOptions(priority=priority) for priority in priorities]
    at_once = together(loop_desk, *(submit(loop_desk, 1, options=each) for each in options))
    alone = [query.submit("alone", {"input": 1}, NO_LIMITS, options=each) for each in options]
    assert [each.queue_position for each in at_once if isinstance(each, JobView)] == [
        each.queue_position for each in alone
    ]


def test_a_turn_with_many_jobs_or_bytes_is_stored_in_groups(
    store: redis.Redis, loop_desk: LoopDesk, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = bulk.CHUNK_JOBS * 2 + 1
    assert not [
        each
        for each in together(loop_desk, *(submit(loop_desk, 1) for _ in range(count)))
        if isinstance(each, BaseException)
    ]
    assert len(calls) == 3
    calls.clear()
    together(loop_desk, *(submit(loop_desk, "x" * (bulk.CHUNK_BYTES // 2)) for _ in range(3)))
    assert len(calls) == 3, "each is longer than half of a group"
    assert store.zcard(keys.unfinished("adding")) == count + 3


def test_with_redis_gone_each_submit_of_a_turn_says_so_for_itself(
    store: redis.Redis, loop_desk: LoopDesk, redis_server: EmbeddedRedis
) -> None:
    together(loop_desk, submit(loop_desk, 1))
    redis_server.stop()
    try:
        answers = together(loop_desk, *(submit(loop_desk, row) for row in range(5)))
    finally:
        redis_server.start()
    # A pooled connection may have taken the command before it was found to be lost.
    assert all(isinstance(each, (QueueUnavailable, JobUnconfirmed)) for each in answers)
    eventually(lambda: not any(isinstance(each, BaseException) for each in together(loop_desk, submit(loop_desk, 1))))


def test_a_full_redis_refuses_the_turn_and_stores_nothing(store: redis.Redis, loop_desk: LoopDesk) -> None:
    store.config_set("maxmemory", 1)
    try:
        answers = together(loop_desk, *(submit(loop_desk, row) for row in range(3)))
    finally:
        store.config_set("maxmemory", 0)
    assert [type(each) for each in answers] == [QueueStoreFull] * 3
    assert not store.exists(keys.unfinished("adding"))


def test_scripts_that_redis_has_forgotten_are_loaded_again(store: redis.Redis, loop_desk: LoopDesk) -> None:
    together(loop_desk, submit(loop_desk, 1))
    store.script_flush()
    answers = together(loop_desk, submit(loop_desk, 2), submit(loop_desk, 3, owner="shop"))
    assert [isinstance(each, JobView) for each in answers] == [True, True]


def test_more_bytes_than_may_wait_are_refused_before_anything_is_stored(
    store: redis.Redis, loop_desk: LoopDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "MOST_WAITING_BYTES", 100_000)
    answers = together(loop_desk, *(submit(loop_desk, "x" * 50_000) for _ in range(5)))
    refused = [each for each in answers if isinstance(each, QueueUnavailable)]
    assert 0 < len(refused) < 5
    assert "nothing was stored" in str(refused[0])
    assert store.zcard(keys.unfinished("adding")) == 5 - len(refused)


@pytest.mark.parametrize("owner", [None, "shop"])
def test_one_conflicting_key_is_decided_in_order(store: redis.Redis, loop_desk: LoopDesk, owner: str | None) -> None:
    once = [Idempotency("key", b"first"), Idempotency("key", b"first"), Idempotency("key", b"second")]
    first, again, other = together(loop_desk, *(submit(loop_desk, 1, idempotency=each, owner=owner) for each in once))
    assert isinstance(first, JobView)
    assert isinstance(again, JobView)
    assert first.job_id == again.job_id
    assert isinstance(other, IdempotencyConflict)
    assert not isinstance(other, QueueFull)
