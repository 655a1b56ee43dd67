"""Leases: a message is queued or leased, and returns to its queue unless it is acknowledged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from tests.support.waiting import eventually
from tests.workers.conftest import WithRedis, submit, submit_ids
from workers import keys
from workers.engine.intake import leases as leases_module
from workers.engine.intake.leases import Leased, Leases
from workers.queues.naming import queue_name

QUEUE = queue_name("adding")
LEASE_S = 20.0


def tags(leased: Sequence[Leased]) -> list[str]:
    return [each.tag for each in leased]


def fetched(with_redis: WithRedis, lease_s: float = LEASE_S, **wanted: int) -> list[Leased]:
    """Fetch as a worker does."""
    return with_redis(lambda client: Leases(client, lease_s).fetch(wanted))


def on_leases(with_redis: WithRedis, name: str, *arguments: Any, lease_s: float = LEASE_S) -> Any:
    """Call one method."""
    return with_redis(lambda client: getattr(Leases(client, lease_s), name)(*arguments))


def test_the_oldest_messages_are_fetched_first_and_leased(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(5)
    messages = store.lrange(QUEUE, 0, -1)
    leased = fetched(with_redis, adding=3)
    assert tags(leased) == ids[:3]
    assert [each.message for each in leased] == messages[:1:-1]
    assert {each.endpoint_name for each in leased} == {"adding"}
    assert store.llen(QUEUE) == 2
    now = time.time()
    left_s = [store.zscore(keys.LEASES, each) - now for each in ids[:3]]  # type: ignore[operator]
    assert left_s == pytest.approx([LEASE_S] * 3, abs=5)
    assert tags(fetched(with_redis, adding=10)) == ids[3:]
    assert fetched(with_redis, adding=10) == []


def test_popping_and_leasing_is_one_step(store: redis.Redis, with_redis: WithRedis) -> None:
    submit()
    fetched(with_redis, adding=1)  # the script is known from now on
    submit()

    async def fetch(client: Redis) -> list[str]:
        leases = Leases(client, LEASE_S)
        await client.ping()
        with store.monitor() as monitor:  # type: ignore[no-untyped-call]
            await leases.fetch({"adding": 1})
            store.ping()
            seen: list[dict[str, Any]] = []
            while not seen or seen[-1]["command"] != "PING":
                seen.append(monitor.next_command())
        return [each["command"].split()[0] for each in seen if each["client_type"] != "lua"]

    assert [name for name in with_redis(fetch) if name not in ("CLIENT", "HELLO")] == ["EVALSHA", "PING"]


def test_each_queue_has_its_own_credit(with_redis: WithRedis) -> None:
    slow, fast = submit_ids(5, "slow"), submit_ids(5, "fast")
    leased = fetched(with_redis, slow=1, fast=3, empty=9)
    assert tags(leased) == slow[:1] + fast[:3]
    assert [each.endpoint_name for each in leased] == ["slow", *["fast"] * 3]


def test_two_fetches_never_share_a_message(with_redis: WithRedis) -> None:
    ids = submit_ids(40)
    first, second = fetched(with_redis, adding=25), fetched(with_redis, adding=25)
    assert tags(first) + tags(second) == ids


def test_large_messages_are_fetched_few_at_a_time(with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "FETCHED_AT_ONCE_BYTES", 8_000)
    ids = [submit(row="x" * 3_000).job_id for _ in range(3)]
    # Each is over half of the bound: the second is the one that reaches it.
    assert tags(fetched(with_redis, adding=10)) == ids[:2]
    assert tags(fetched(with_redis, adding=10)) == ids[2:]


def test_one_message_is_fetched_however_large(with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "FETCHED_AT_ONCE_BYTES", 100)
    ids = submit_ids(2)
    assert tags(fetched(with_redis, adding=10)) == ids[:1]


def test_ack_leaves_nothing(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(2)
    fetched(with_redis, adding=2)
    on_leases(with_redis, "ack", ids)
    assert not store.exists(QUEUE, keys.LEASES, keys.LEASED)
    on_leases(with_redis, "give_back", ids)
    assert not store.exists(QUEUE)


def test_what_is_given_back_is_next_and_in_the_same_order(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(4)
    messages = store.lrange(QUEUE, 0, -1)
    fetched(with_redis, adding=3)
    on_leases(with_redis, "give_back", ids[:3])
    assert store.lrange(QUEUE, 0, -1) == messages
    assert not store.exists(keys.LEASES, keys.LEASED)


def test_what_a_dead_worker_held_is_next_once_its_lease_has_run_out(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(3)
    fetched(with_redis, lease_s=0.05, adding=2)
    eventually(lambda: on_leases(with_redis, "expire") == 2)
    assert tags(fetched(with_redis, adding=3)) == ids
    assert on_leases(with_redis, "expire") == 0


@pytest.mark.parametrize("renewed", [False, True])
def test_many_jobs_of_a_dead_worker_come_back_in_order(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch, renewed: bool
) -> None:
    monkeypatch.setattr(leases_module, "_EXPIRED_AT_ONCE", 4)
    ids = submit_ids(10)
    held = tags(fetched(with_redis, lease_s=0.05, adding=10))
    if renewed:
        on_leases(with_redis, "renew", held, lease_s=0.05)
    eventually(lambda: on_leases(with_redis, "expire") == 0 and not store.exists(keys.LEASES))
    assert tags(fetched(with_redis, adding=10)) == ids


def test_a_lease_that_is_renewed_does_not_run_out(store: redis.Redis, with_redis: WithRedis) -> None:
    kept, left = submit_ids(2)
    fetched(with_redis, lease_s=0.05, adding=2)
    on_leases(with_redis, "renew", [kept])
    eventually(lambda: on_leases(with_redis, "expire") == 1)
    assert store.zrange(keys.LEASES, 0, -1) == [kept.encode()]
    assert tags(fetched(with_redis, adding=2)) == [left]


def test_a_lease_that_is_gone_is_not_taken_up_again(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    fetched(with_redis, adding=1)
    on_leases(with_redis, "ack", [job_id])
    on_leases(with_redis, "renew", [job_id])
    assert not store.exists(keys.LEASES)


def test_a_message_whose_tag_can_not_be_read_keeps_no_other_from_being_fetched(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    wrong = b'{"properties": {"delivery_tag": "\xff\xfe"}}'
    [before] = submit_ids(1)
    store.lpush(QUEUE, wrong)
    [after] = submit_ids(1)
    leased = fetched(with_redis, adding=10)
    assert [leased[0].tag, leased[2].tag] == [before, after]
    assert leased[1].message == wrong
    on_leases(with_redis, "put_aside", leased[1])
    assert store.lrange(keys.MALFORMED, 0, -1) == [wrong]
    assert sorted(store.zrange(keys.LEASES, 0, -1)) == sorted([before.encode(), after.encode()])


@pytest.mark.parametrize("content", [b"", b"no json", b"\x00\xff", b"{}", b'{"delivery_tag": 5}'])
def test_what_is_no_message_has_a_lease_of_its_own(store: redis.Redis, with_redis: WithRedis, content: bytes) -> None:
    store.lpush(QUEUE, content)
    [leased] = fetched(with_redis, adding=2)
    assert leased.message == content
    on_leases(with_redis, "give_back", [leased.tag])
    assert store.lrange(QUEUE, 0, -1) == [content]


def test_leases_end_where_redis_is_full(store: redis.Redis, with_redis: WithRedis, fill: Callable[[], None]) -> None:
    submit_ids(3)
    ended, wrong, given_back = fetched(with_redis, adding=3)
    fill()
    on_leases(with_redis, "ack", [ended.tag])
    on_leases(with_redis, "put_aside", wrong)
    on_leases(with_redis, "give_back", [given_back.tag])
    assert store.lrange(keys.MALFORMED, 0, -1) == [wrong.message]
    assert store.lrange(QUEUE, 0, -1) == [given_back.message]
    assert store.exists(keys.LEASES, keys.LEASED) == 0


def test_messages_put_aside_are_bounded(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases_module, "MALFORMED_KEPT", 2)
    for content in (b"1", b"2", b"3"):
        store.lpush(QUEUE, content)
        [leased] = fetched(with_redis, adding=1)
        on_leases(with_redis, "put_aside", leased)
    assert store.lrange(keys.MALFORMED, 0, -1) == [b"3", b"2"]


def test_a_large_message_that_another_holds_by_now_is_not_read(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = submit().job_id

    async def read_by(client: Redis) -> list[bool]:
        first, second = (Leases(client, LEASE_S, holder) for holder in ("first", "second"))
        await first.fetch({"adding": 1})
        found = [await first._read(job_id.encode()) is not None]
        await first.give_back([job_id])
        await second.fetch({"adding": 1})
        return [*found, *[await each._read(job_id.encode()) is not None for each in (first, second)]]

    assert with_redis(read_by) == [True, False, True]


def test_the_sweeper_sees_the_next_message_and_what_nobody_holds(store: redis.Redis, with_redis: WithRedis) -> None:
    assert on_leases(with_redis, "oldest_at", "adding") is None
    first, second = submit(), submit()
    queued_at = [store.zscore(keys.unfinished("adding"), each.job_id) for each in (first, second)]
    assert on_leases(with_redis, "oldest_at", "adding") == queued_at[0]
    fetched(with_redis, adding=1)
    assert on_leases(with_redis, "oldest_at", "adding") == queued_at[1]
    assert on_leases(with_redis, "without_lease", [first.job_id, second.job_id]) == [second.job_id]
    assert on_leases(with_redis, "without_lease", []) == []


@pytest.mark.parametrize("content", ["{}", json.dumps({keys.SUBMITTED_AT_HEADER: "soon"}), "junk"])
def test_a_next_message_without_a_time_is_as_old_as_can_be(
    store: redis.Redis, with_redis: WithRedis, content: str
) -> None:
    # So that nothing in this queue is taken for lost.
    store.lpush(QUEUE, content)
    assert on_leases(with_redis, "oldest_at", "adding") == 0
