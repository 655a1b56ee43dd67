"""Idempotency keys: the same request again is the same job."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.workers.conftest import submit
from workers import keys
from workers.errors import IdempotencyConflict, QueueFull
from workers.jobs import query
from workers.jobs.accept import Idempotency, Limits
from workers.jobs.query import JobState
from workers.queues.naming import queue_name

QUEUE = queue_name("adding")


def test_a_repeated_request_under_an_idempotency_key_is_the_first_job(store: redis.Redis) -> None:
    first = submit(idempotency=Idempotency("key", b"request"))
    again = submit(idempotency=Idempotency("key", b"request"), limits=Limits(max_queue_length=1))
    assert (again.job_id, again.repeated) == (first.job_id, True)
    assert store.llen(QUEUE) == 1
    assert submit(idempotency=Idempotency("other key", b"request")).job_id != first.job_id


def test_another_request_under_the_same_idempotency_key_is_a_conflict(store: redis.Redis) -> None:
    first = submit(idempotency=Idempotency("key", b"request"))
    with pytest.raises(IdempotencyConflict, match=first.job_id):
        submit(idempotency=Idempotency("key", b"another"))
    assert store.llen(QUEUE) == 1


def test_idempotency_holds_until_the_key_is_forgotten_and_not_for_a_refused_job(store: redis.Redis) -> None:
    store.hset(keys.LIMITS, "adding", 0)
    with pytest.raises(QueueFull):
        submit(idempotency=Idempotency("key", b"request"))
    store.delete(keys.LIMITS)
    assert not submit(idempotency=Idempotency("key", b"request")).repeated
    [name] = store.keys(keys.idempotency("*"))
    assert 0 < store.ttl(name) <= 86_400


def test_a_key_is_forgotten_with_the_record_of_its_job(store: redis.Redis) -> None:
    first = submit(idempotency=Idempotency("key", b"request"))
    store.delete(keys.record(first.job_id))  # its time was over
    again = submit(idempotency=Idempotency("key", b"another"))
    assert (again.repeated, query.get(again.job_id).state) == (False, JobState.QUEUED)
    assert submit(idempotency=Idempotency("key", b"another")).job_id == again.job_id


def test_a_repeated_request_shows_the_job_as_it_stands_now(store: redis.Redis) -> None:
    once = Idempotency("key", b"request")
    first = query.submit("adding", {"input": 1}, Limits(), once)
    query.cancel(first.job_id)
    assert query.submit("adding", {"input": 1}, Limits(), once) == query.get(first.job_id)


def test_of_many_requests_at_once_under_one_key_one_becomes_a_job(store: redis.Redis) -> None:
    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(lambda _: submit(idempotency=Idempotency("key", b"request")), range(24)))
    assert len({each.job_id for each in accepted}) == 1
    assert [each.repeated for each in accepted].count(False) == 1
    assert store.llen(QUEUE) == 1
