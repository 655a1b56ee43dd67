"""Jobs with an `eta`: submitted straight into the set where they wait, outside of their queue and its limit."""

from __future__ import annotations

import time

import pytest
import redis

from tests.workers.conftest import submit
from workers import keys, tasks
from workers.broker import backlogs
from workers.errors import QueueFull, QueueUnavailable
from workers.jobs import bulk, query
from workers.jobs.accept import Limits
from workers.jobs.bulk import NewJob
from workers.jobs.query import JobState
from workers.measures import positions
from workers.queues import delayed
from workers.queues.naming import queue_name, queue_names
from workers.queues.priorities import Priority
from workers.settings import DAY_S, load

NAME = "adding"
LATER_S = 600.0


def waiting(store: redis.Redis) -> list[str]:
    found = store.zrange(keys.delayed(NAME), 0, -1)
    return [each.decode() for each in found]  # type: ignore[union-attr]


def test_a_job_with_a_countdown_waits_outside_of_its_queue_with_its_record_and_a_copy(store: redis.Redis) -> None:
    accepted = submit(countdown=LATER_S, priority="high")
    assert not store.exists(*queue_names(NAME))
    assert waiting(store) == [accepted.job_id]
    due_at = store.zscore(keys.delayed(NAME), accepted.job_id) or 0.0
    assert due_at == pytest.approx(accepted.submitted_at + LATER_S, abs=1)
    assert store.zscore(keys.unfinished(NAME), accepted.job_id) == due_at, "so that nobody takes it for lost before"
    assert store.zscore(keys.prioritized(NAME), accepted.job_id) == -due_at
    assert store.exists(keys.message(accepted.job_id))
    job = query.get(accepted.job_id)
    assert (job.state, job.not_before, job.is_delayed) == (JobState.QUEUED, due_at, True)
    assert query.with_positions([job])[0].queue_position is None


def test_a_time_that_has_come_is_none(store: redis.Redis) -> None:
    submit(countdown=-1)
    assert waiting(store) == []
    assert store.llen(queue_name(NAME)) == 1


def test_many_jobs_with_a_countdown_wait_outside_of_their_queue(store: redis.Redis) -> None:
    results = tasks.predict.bulk(NAME, range(300), countdown=LATER_S, expires=2 * LATER_S)
    assert not store.exists(*queue_names(NAME))
    assert sorted(waiting(store)) == sorted(each.id for each in results)
    assert store.exists(*(keys.message(each.id) for each in results)) == 300
    assert store.zcard(keys.EXPIRING) == 300


def test_a_record_is_kept_until_its_job_is_due_and_as_long_as_others_from_then(store: redis.Redis) -> None:
    job_id = submit(countdown=90 * DAY_S).job_id
    for key in (keys.record(job_id), keys.message(job_id)):
        assert store.ttl(key) == pytest.approx(90 * DAY_S + load().unfinished_ttl_s, abs=5)


def test_a_queue_has_as_many_places_for_delayed_jobs_as_for_others(store: redis.Redis) -> None:
    limits = Limits(max_queue_length=3)
    for _ in range(3):
        submit(limits=limits, countdown=LATER_S)
    with pytest.raises(QueueFull, match="3 delayed jobs"):
        submit(limits=limits, countdown=LATER_S)
    with pytest.raises(QueueFull, match="delayed jobs"):
        bulk.submit(NAME, [NewJob({"input": 1})], limits=limits, countdown=LATER_S)
    submit(limits=limits)
    bulk.submit(NAME, [NewJob({"input": 1})] * 2, limits=limits)
    with pytest.raises(QueueFull, match="3 unfinished jobs"):
        submit(limits=limits)
    with pytest.raises(QueueFull, match="3 unfinished jobs"):
        bulk.submit(NAME, [NewJob({"input": 1})], limits=limits)


@pytest.mark.parametrize("level", Priority)
def test_delayed_jobs_are_before_nobody(store: redis.Redis, level: Priority) -> None:
    for each in Priority:
        submit(countdown=LATER_S, priority=each)
        assert submit("other", priority=each).ahead.before == 0
    accepted = submit(priority=level)
    assert accepted.ahead.position == 0
    assert positions.read(NAME, [accepted.job_id])[accepted.job_id].position == 0


def test_a_delayed_job_is_cancelled_where_it_waits(store: redis.Redis) -> None:
    job_id = submit(countdown=LATER_S).job_id
    query.cancel(job_id)
    assert query.get(job_id).state is JobState.CANCELLED
    for key in (keys.delayed(NAME), keys.unfinished(NAME), keys.message(job_id)):
        assert not store.exists(key)


def test_how_many_are_delayed_and_when_the_next_is_due_is_told_beside_the_depth(store: redis.Redis) -> None:
    submit(countdown=2 * LATER_S)
    first = submit(countdown=LATER_S)
    submit()
    found = backlogs.read([NAME, "other"])
    assert (found[NAME].depth, found[NAME].delayed.count) == (1, 2)
    assert found[NAME].delayed.next_due_at == pytest.approx(first.submitted_at + LATER_S, abs=1)
    assert found["other"].delayed == delayed.NONE
    assert backlogs.unfinished([NAME]) == [1], "a job whose time has not come is no work yet"


def test_the_next_jobs_are_told_of_every_endpoint_also_beside_a_wrong_key(store: redis.Redis) -> None:
    submit(countdown=2 * LATER_S)
    first = submit(countdown=LATER_S)
    store.set(keys.delayed("spoilt"), "no set")
    found = delayed.soonest(["spoilt", NAME, "other"], 1)
    assert {name: [job_id for job_id, _ in due] for name, due in found.items()} == {
        "spoilt": [], NAME: [first.job_id], "other": []
    }  # fmt: skip


def test_the_age_of_the_oldest_job_is_not_that_of_one_that_had_to_wait_for_its_time(store: redis.Redis) -> None:
    job_id = submit(countdown=LATER_S).job_id
    store.lpush(queue_name(NAME), store.get(keys.message(job_id)))  # type: ignore[arg-type]
    assert backlogs.read([NAME])[NAME].oldest_age_s is None


@pytest.mark.parametrize("spoilt", [keys.delayed(NAME), keys.unfinished(NAME), keys.EXPIRING, keys.ENDPOINTS])
def test_nothing_is_stored_of_a_delayed_job_where_a_key_is_of_the_wrong_type(store: redis.Redis, spoilt: str) -> None:
    store.set(spoilt, "no set")
    with pytest.raises(QueueUnavailable):
        submit(countdown=LATER_S, expires=time.time() + 2 * LATER_S, task_id="one")
    with pytest.raises(QueueUnavailable):
        tasks.predict.bulk(NAME, [1, 2], countdown=LATER_S, expires=2 * LATER_S)
    assert not store.keys("celery-task-meta-*")
    assert not store.keys(keys.message("*"))
