"""Whose a job is: told at its submit, kept in every later record and in a replay, and asked for by who may see it."""

from __future__ import annotations

import time
from typing import cast

import pytest
import redis
from celery import Celery

from tests.workers.conftest import WithRedis, message_of
from tests.workers.jobs.conftest import LoopDesk
from workers import keys
from workers.engine.intake.messages import QueuedJob, parse
from workers.errors import JobNotFound, PredictionFailed
from workers.jobs import dead_letters, query, records, transitions
from workers.jobs.accept import Limits
from workers.jobs.dead_letters import DeadLetter
from workers.jobs.job import Failure, Job
from workers.jobs.query import JobState
from workers.queues.naming import queue_name


def submit(owner: str | None = "shop", endpoint_name: str = "adding") -> str:
    return query.submit(endpoint_name, {"input": 1}, Limits(), owner=owner).job_id


def fetched(store: redis.Redis, job_id: str) -> QueuedJob:
    """The job as an engine reads it."""
    copy = store.get(keys.message(job_id))
    assert isinstance(copy, bytes)
    return parse(job_id, "adding", copy)


def test_a_job_belongs_to_who_submitted_it_from_the_record_to_the_message(store: redis.Redis) -> None:
    job_id = submit()
    assert query.get(job_id).owner == "shop"
    assert query.get(job_id).document()["owner"] == "shop"
    assert message_of(store, job_id).headers[keys.OWNER_HEADER] == "shop"
    assert fetched(store, job_id).owner == "shop"


def test_a_job_of_a_celery_program_belongs_to_nobody(store: redis.Redis, bare_app: Celery) -> None:
    bare_app.send_task("predict", ["adding", 1], queue=queue_name("adding"))
    [message] = cast("list[bytes]", store.lrange(queue_name("adding"), 0, -1))
    assert parse("tag", "adding", message).owner is None
    assert query.get(submit(owner=None)).owner is None


def test_every_record_keeps_the_owner() -> None:
    error = PredictionFailed("no")
    written = [
        records.queued(Job("job", "adding", 1.0, expires_at=None, owner="shop")),
        records.started(Job("job", "adding", 1.0, owner="shop"), 2.0, attempts=1, worker="w"),
        records.succeeded(Job("job", "adding", 1.0, owner="shop", attempts=1), b"{}", 2.0, 3.0),
        records.failed(Job("job", "adding", 1.0, owner="shop"), error, 3.0),
        records.revoked(Job("job", "adding", 1.0, owner="shop"), records.CANCELLED, 3.0),
    ]
    assert [query.parse("job", record).owner for record in written] == ["shop"] * 5


def test_a_job_that_a_worker_gives_back_still_has_its_owner(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = submit()
    job = fetched(store, job_id)
    started = records.started(Job(job_id, "adding", 1.0, owner=job.owner), 2.0, attempts=1, worker="w")
    store.set(keys.record(job_id), started)
    with_redis(lambda client: transitions.requeue(client, "w", [job]))
    found = query.get(job_id)
    assert (found.state, found.owner) == (JobState.QUEUED, "shop")


def test_others_see_wait_for_and_cancel_a_job_as_little_as_one_that_is_not_there(
    store: redis.Redis, loop_desk: LoopDesk
) -> None:
    job_id = submit()
    for other in ("desk", ""):
        with pytest.raises(JobNotFound, match=job_id):
            query.get(job_id, other)
        with pytest.raises(JobNotFound, match=job_id):
            query.cancel(job_id, owner=other)
        with pytest.raises(JobNotFound, match=job_id):
            loop_desk.wait(job_id, 60, other)
    with pytest.raises(JobNotFound):
        query.get(submit(owner=None), "shop")
    assert query.get(job_id, "shop").state is JobState.QUEUED
    cancelled = query.cancel(job_id, owner="shop")
    assert (cancelled.state, cancelled.owner) == (JobState.CANCELLED, "shop")
    assert query.get(job_id, "shop") == cancelled


def test_recent_jobs_are_those_of_one_owner_if_that_is_asked_for(store: redis.Redis) -> None:
    mine = [submit() for _ in range(3)]
    submit("desk")
    submit(None)
    assert [job.job_id for job in query.recent(owner="shop")] == mine[::-1]
    assert [job.job_id for job in query.recent(owner="shop", limit=1)] == mine[-1:]
    assert len(query.recent()) == 5


def test_a_replayed_dead_letter_is_still_its_owners_job(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = submit()
    job = fetched(store, job_id)
    failures = [Failure(attempt=1, worker="w", at=1.0, reason="killed")]
    letter = DeadLetter(job_id, "adding", job.message, failures, job.submitted_at, time.time())
    with_redis(lambda client: dead_letters.keep(client, [letter]))
    assert dead_letters.replay(job_id).owner == "shop"
    assert DeadLetter("j", "adding", b"?", [], None, 1.0).owner is None
