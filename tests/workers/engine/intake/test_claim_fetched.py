"""A job that comes alone to a host that waits is claimed by the script that fetches it; any other job is not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.workers.conftest import WithRedis, submit, submit_ids
from workers import keys
from workers.engine.intake import leases as leases_module
from workers.engine.intake.leases import Leased, Leases
from workers.jobs import query, records
from workers.jobs.job import Job
from workers.jobs.query import JobState
from workers.queues.lease_holder import LEASE_HOLDER
from workers.queues.naming import queue_name

NAME = "adding"


def fetch(with_redis: WithRedis, *claiming: str, count: int = 5, other: int = 0) -> list[Leased]:
    wanted = {NAME: count, **({"other": other} if other else {})}
    return with_redis(lambda client: Leases(client, 20, worker_name="w@1").fetch(wanted, {}, claiming or (NAME,)))


def test_a_job_that_comes_alone_is_claimed_and_its_record_is_as_a_claim_writes_it(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    job_id = submit(expires_in_s=60, priority="high", owner="me").job_id
    before = time.time()
    [leased] = fetch(with_redis)
    assert leased.tag == job_id
    assert leased.claimed_at is not None
    assert before <= leased.claimed_at <= time.time()
    record = store.get(keys.record(job_id))
    assert isinstance(record, bytes)
    view = query.get(job_id)
    job = Job(job_id, NAME, view.submitted_at or 0.0, None, None, "me", view.priority)
    started = records.started(job, leased.claimed_at, attempts=1, worker="w@1", holder=LEASE_HOLDER)
    assert json.loads(record) == json.loads(started)
    assert view.state is JobState.RUNNING
    assert store.ttl(keys.record(job_id)) > 0


def test_of_several_jobs_none_is_claimed(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(2)
    assert [each.claimed_at for each in fetch(with_redis)] == [None, None]
    assert [query.get(job_id).state for job_id in ids] == [JobState.QUEUED] * 2


def test_each_endpoint_counts_for_itself(store: redis.Redis, with_redis: WithRedis) -> None:
    submit_ids(2)
    other = submit("other").job_id
    claimed = {each.tag for each in fetch(with_redis, NAME, "other", other=3) if each.claimed_at}
    assert claimed == {other}


def test_a_job_is_not_claimed_where_no_host_waits(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    [leased] = fetch(with_redis, "other")
    assert leased.claimed_at is None
    assert query.get(job_id).state is JobState.QUEUED


def cancelled(_: redis.Redis, job_id: str) -> None:
    query.cancel(job_id)


def running(store: redis.Redis, job_id: str) -> None:
    store.set(keys.record(job_id), records.started(Job(job_id, NAME, 1.0), 2.0, attempts=1, worker="another@1"))


def delayed(store: redis.Redis, job_id: str) -> None:
    store.set(keys.record(job_id), records.queued(Job(job_id, NAME, 1.0), not_before=5.0))


def expired(store: redis.Redis, job_id: str) -> None:
    store.set(keys.record(job_id), records.queued(Job(job_id, NAME, 1.0, expires_at=5.0)))


def bare(store: redis.Redis, job_id: str) -> None:
    store.delete(keys.record(job_id))


def unreadable(store: redis.Redis, job_id: str) -> None:
    store.set(keys.record(job_id), b"{}")


def of_another_type(store: redis.Redis, job_id: str) -> None:
    store.delete(keys.record(job_id))
    store.lpush(keys.record(job_id), "odd")


@pytest.mark.parametrize("made", [cancelled, running, delayed, expired, bare, unreadable, of_another_type])
def test_a_job_that_is_not_simply_queued_is_left_to_the_claim(
    store: redis.Redis, with_redis: WithRedis, made: Callable[[redis.Redis, str], None]
) -> None:
    [job_id] = submit_ids(1)
    made(store, job_id)
    before: Any = store.dump(keys.record(job_id))
    [leased] = fetch(with_redis)
    assert (leased.tag, leased.claimed_at) == (job_id, None)
    assert store.dump(keys.record(job_id)) == before


def test_a_large_message_is_not_claimed_before_it_is_read(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases_module, "_LARGE_BYTES", 100)
    [job_id] = submit_ids(1)
    [leased] = fetch(with_redis)
    assert leased.claimed_at is None
    assert query.get(job_id).state is JobState.QUEUED


def test_a_message_in_a_queue_beside_one_of_another_type_is_claimed(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    store.set(queue_name(NAME) + ":high", "no list")
    [leased] = fetch(with_redis)
    assert leased.claimed_at is not None
    assert query.get(job_id).state is JobState.RUNNING
