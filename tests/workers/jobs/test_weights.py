"""The bytes of unfinished jobs are counted exactly; they bound a queue, and each client has a share of it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, cast

import pytest
import redis

from tests.workers.conftest import WithRedis, submit
from workers import keys
from workers.engine.upkeep.recount import recount
from workers.errors import BulkTooLarge, JobFailed, QueueFull
from workers.jobs import accept, bulk, query, records, transitions
from workers.jobs.accept import Limits
from workers.jobs.bulk import NewJob
from workers.jobs.job import Job
from workers.jobs.transitions import Finish
from workers.measures import counters
from workers.queues.naming import queue_name
from workers.queues.priorities import Priority

WEIGHTS = keys.weights("adding")
LARGE = "x" * 13_000


def sums(store: redis.Redis) -> dict[str, int]:
    """The sums as they stand."""
    found = cast("dict[bytes, bytes]", store.hgetall(WEIGHTS))
    return {name.decode(): int(value) for name, value in found.items() if name.startswith(b" ")}


def summed(store: redis.Redis) -> int:
    """The bytes of all messages that are kept for unfinished jobs."""
    ids = [each.decode() for each in cast("list[bytes]", store.zrange(keys.unfinished("adding"), 0, -1))]
    return sum(store.strlen(keys.message(job_id)) for job_id in ids)


def finish(with_redis: WithRedis, *job_ids: str) -> None:
    ends = [
        Finish(each, records.failed(Job(each, "adding", 1.0), JobFailed("no"), 2.0), counters.Kind.FAILED, 1.0)
        for each in job_ids
    ]
    with_redis(lambda client: transitions.finish(client, "adding", ends, 3.0, None))


def submit_many(count: int, row: Any = 1, **more: Any) -> list[str]:
    return bulk.submit("adding", [NewJob({"input": row}) for _ in range(count)], **more)


def test_bytes_are_counted_by_whatever_stores_and_ends_jobs(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = [submit(row=LARGE, owner="shop").job_id, submit(priority="high").job_id, submit().job_id]
    ids += submit_many(3, owner="shop", priority="high")
    total = summed(store)
    assert sums(store)[" bytes"] == total > len(LARGE)
    assert (sums(store)[" jobs shop"], sums(store)[" high shop"]) == (4, 3)
    assert store.strlen(keys.message(ids[0])) < sums(store)[" bytes shop"] < total
    query.cancel(ids[0])
    finish(with_redis, ids[1], ids[3], ids[3])
    finish(with_redis, ids[1])
    assert sums(store)[" bytes"] == summed(store) < total
    assert (sums(store)[" jobs shop"], sums(store)[" high shop"]) == (2, 2)
    transitions.forget_queued(ids[2], "adding")
    finish(with_redis, *ids)
    assert not store.exists(WEIGHTS)


def test_a_queue_is_bounded_in_bytes_also_for_celery_programs(store: redis.Redis, with_redis: WithRedis) -> None:
    store.hset(keys.LIMITS, "adding:bytes", 40_000)
    first = submit(row=LARGE).job_id
    submit(row=LARGE)
    for refused in (lambda: submit(row=LARGE), lambda: submit_many(2, LARGE)):
        with pytest.raises(QueueFull, match="bytes") as error:
            refused()
        assert (error.value.full, error.value.unfinished) == ("max_queue_bytes", summed(store))
    submit()  # a small one has room
    with pytest.raises(BulkTooLarge, match="it takes at most 2"):
        submit_many(3, LARGE)
    finish(with_redis, first)
    assert len(submit_many(1, LARGE)) == 1


def test_the_deployments_own_limit_counts_before_the_default_of_all(store: redis.Redis) -> None:
    store.hset(keys.LIMITS, ":bytes", 20_000)
    submit(row=LARGE)
    with pytest.raises(QueueFull):
        submit(row=LARGE)
    submit(row=LARGE, limits=Limits(max_queue_bytes=100_000))


def test_an_empty_queue_takes_one_job_of_any_size(store: redis.Redis) -> None:
    small = Limits(max_queue_bytes=10)
    submit(row=LARGE, limits=small)
    with pytest.raises(QueueFull):
        submit(limits=small)


def test_jobs_of_an_earlier_release_are_not_counted_and_ended_without_harm(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    old = submit(row=LARGE).job_id
    store.delete(WEIGHTS)  # as it accepts them
    new = submit().job_id
    finish(with_redis, old)
    assert sums(store)[" bytes"] == summed(store) == store.strlen(keys.message(new))


def test_what_an_earlier_release_has_ended_is_counted_until_the_next_sweep(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    limits = Limits(max_queue_bytes=20_000)
    ended, left = submit(row=LARGE, owner="shop").job_id, submit(owner="desk").job_id
    store.zrem(keys.unfinished("adding"), ended)
    with pytest.raises(QueueFull):
        submit(row=LARGE, limits=limits)
    assert with_redis(lambda client: recount(client, "adding")) == 1
    submit(row=LARGE, limits=limits)
    finish(with_redis, left)
    assert sums(store) == {" bytes": summed(store)}


def test_sums_that_somebody_has_changed_are_put_right(store: redis.Redis, with_redis: WithRedis) -> None:
    submit(owner="shop")
    right = store.hgetall(WEIGHTS)
    store.hset(WEIGHTS, mapping={" bytes": -5, " jobs shop": "many", " bytes ghost": 7, "ghost": "no weight"})
    with_redis(lambda client: recount(client, "adding"))
    assert store.hgetall(WEIGHTS) == right


def test_sums_that_are_wrong_block_no_empty_queue(store: redis.Redis) -> None:
    store.hset(WEIGHTS, mapping={" bytes": 10**12, " jobs shop": 10**6, " high shop": 10**6})
    submit(owner="shop", priority="high", limits=Limits(10, None, 1_000_000))


def test_a_key_of_the_wrong_type_stops_no_submit_and_no_end(store: redis.Redis, with_redis: WithRedis) -> None:
    store.set(WEIGHTS, "somebody's")
    ids = [submit(owner="shop", limits=Limits(10, None, 20_000)).job_id, *submit_many(2, owner="shop")]
    query.cancel(ids[0])
    finish(with_redis, *ids[1:])
    assert store.zcard(keys.unfinished("adding")) == 0


@pytest.mark.parametrize(
    ("limits", "row", "full"),
    [
        (Limits(20), 1, "share of max_queue_length"),
        (Limits(None, None, 20 * 14_500), LARGE, "share of max_queue_bytes"),
    ],
)
def test_a_client_that_fills_a_queue_leaves_room_for_another_one(
    store: redis.Redis, limits: Limits, row: Any, full: str
) -> None:
    def fill(owner: str) -> tuple[int, str]:
        for number in count():
            try:
                submit(row=row, owner=owner, limits=limits)
            except QueueFull as error:
                return number, error.full
        raise AssertionError

    taken, why = fill("greedy")
    assert (taken in (17, 18), why) == (True, full)
    with pytest.raises(QueueFull, match="This API key has"):
        submit_many(1, row, owner="greedy", limits=limits)
    assert fill("other")[0] >= 1


def test_whoever_has_nothing_in_a_queue_may_have_all_that_is_free(store: redis.Redis) -> None:
    assert len(submit_many(20, owner="shop", limits=Limits(20))) == 20


@pytest.mark.parametrize("send", [accept.submit, None], ids=["single", "bulk"])
def test_a_client_has_so_many_high_jobs_and_no_more(store: redis.Redis, send: Callable[..., Any] | None) -> None:
    for _ in range(100):
        submit(owner="greedy", priority=Priority.HIGH)
    with pytest.raises(QueueFull, match="100 unfinished jobs of high priority") as error:
        submit(owner="greedy", priority="high") if send else submit_many(1, owner="greedy", priority="high")
    assert error.value.full == "high priority"
    submit(owner="greedy")
    submit(owner="other", priority="high")
    submit(priority="high")  # a Celery program's
    assert store.llen(queue_name("adding", Priority.HIGH)) == 102


def test_more_high_jobs_in_one_call_than_a_client_may_have_are_never_taken(store: redis.Redis) -> None:
    with pytest.raises(BulkTooLarge, match="it takes at most 100"):
        submit_many(101, owner="shop", priority="high")
