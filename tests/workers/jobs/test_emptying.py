"""Emptying a queue: the queued jobs of an endpoint are cancelled page by page, and no others."""

from __future__ import annotations

import time

import pytest
import redis
from redis.client import PubSub

from tests.workers.conftest import WithRedis, submit_ids
from workers import keys
from workers.jobs import accept, emptying, query, records, transitions
from workers.jobs.emptying import Progress, Which
from workers.jobs.job import Job
from workers.jobs.query import JobState
from workers.jobs.transitions import Claim
from workers.measures import figures

NAME = "adding"


def submitted(count: int = 1, *, owner: str | None = None, endpoint_name: str = NAME) -> list[str]:
    return [accept.submit((endpoint_name, [1, 2]), {}, owner=owner).job_id for _ in range(count)]


def states(job_ids: list[str]) -> set[JobState]:
    return {query.get(job_id).state for job_id in job_ids}


def begin(with_redis: WithRedis, job_id: str) -> None:
    record = records.started(Job(job_id, NAME, 1.0), time.time(), attempts=1, worker="w@1")
    with_redis(lambda client: transitions.claim(client, NAME, [Claim(job_id, record, 1.0)]))


def test_the_queued_jobs_of_one_endpoint_are_cancelled_and_leave_nothing(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    queued, other = submitted(30), submitted(3, endpoint_name="other")
    running = submitted()
    begin(with_redis, running[0])
    heard: PubSub = store.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    heard.subscribe(keys.ENDED_CHANNEL)
    assert emptying.cancel_queued(Which(NAME)) == Progress(30, 30, 0)
    assert states(queued) == {JobState.CANCELLED}
    assert (states(running), states(other)) == ({JobState.RUNNING}, {JobState.QUEUED})
    assert store.zrange(keys.unfinished(NAME), 0, -1) == [running[0].encode()]
    assert store.hget(keys.counts(NAME), "withdrawn") == b"30"
    minutes = [keys.minute(NAME, figures.minute_of(time.time()) - ago) for ago in (0, 1)]
    assert sum(int(store.hget(minute, "w") or 0) for minute in minutes) == 30
    assert all(store.ttl(minute) > 0 for minute in minutes if store.exists(minute))
    assert not store.exists(*map(keys.message, queued))
    assert store.hlen(keys.weights(NAME)) < 10
    ended = next(found for _ in range(50) if (found := heard.get_message(timeout=0.1)))
    assert set(ended["data"].decode().split(keys.ENDED_SEPARATOR)) == set(queued)
    assert emptying.cancel_queued(Which(NAME)) == Progress(0, 0, 0)


def test_thousands_of_jobs_are_cancelled_in_steps_that_continue(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = submit_ids(2_000)
    found = emptying.cancel_queued(Which(NAME), budget_s=0.0)
    assert 0 < found.cancelled < 1_000
    cancelled = found.cancelled
    while found.cursor:
        found = emptying.cancel_queued(Which(NAME), cursor=found.cursor, budget_s=0.0)
        cancelled += found.cancelled
    assert cancelled == 2_000
    assert states(ids) == {JobState.CANCELLED}
    assert store.zcard(keys.unfinished(NAME)) == 0


def test_a_dry_run_counts_and_cancels_nothing(store: redis.Redis) -> None:
    ids = submitted(3)
    assert emptying.cancel_queued(Which(NAME), dry_run=True) == Progress(3, 0, 0)
    assert states(ids) == {JobState.QUEUED}


def test_an_owner_cancels_its_own_jobs_alone(store: redis.Redis) -> None:
    mine, theirs, nobodys = submitted(2, owner="shop"), submitted(2, owner="desk"), submitted(2)
    assert emptying.cancel_queued(Which(NAME, owner="shop")).cancelled == 2
    assert states(mine) == {JobState.CANCELLED}
    assert states(theirs + nobodys) == {JobState.QUEUED}


def test_only_old_jobs_are_cancelled_if_that_is_said(store: redis.Redis) -> None:
    [old], [young] = submitted(), submitted()
    store.set(keys.record(old), records.queued(Job(old, NAME, time.time() - 700)))
    assert emptying.cancel_queued(Which(NAME, older_than_s=600)).cancelled == 1
    assert (states([old]), states([young])) == ({JobState.CANCELLED}, {JobState.QUEUED})


def test_delayed_jobs_are_cancelled_only_if_that_is_said(store: redis.Redis) -> None:
    delayed = accept.submit((NAME, [1, 2]), {}, countdown=600).job_id
    assert emptying.cancel_queued(Which(NAME)).matched == 0
    assert emptying.cancel_queued(Which(NAME, delayed=True)).cancelled == 1
    assert states([delayed]) == {JobState.CANCELLED}
    assert store.zcard(keys.delayed(NAME)) == 0


def test_a_record_of_another_program_is_left_alone(store: redis.Redis) -> None:
    [odd], [job_id] = submitted(), submitted()
    store.set(keys.record(odd), b"nonsense")
    assert emptying.cancel_queued(Which(NAME)) == Progress(1, 1, 0)
    assert store.get(keys.record(odd)) == b"nonsense"
    assert states([job_id]) == {JobState.CANCELLED}
