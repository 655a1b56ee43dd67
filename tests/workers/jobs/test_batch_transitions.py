"""The engine's transitions: claim, claim again, requeue, finish; at most one outcome, even with late ones."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from tests.workers.conftest import WithRedis, submit, submit_ids
from tests.workers.stand_ins import queued_job
from workers import keys
from workers.engine.intake.leases import Leases
from workers.errors import PredictionFailed
from workers.jobs import query, records, transitions
from workers.jobs.job import Job
from workers.jobs.query import JobState
from workers.jobs.transitions import Claim, Finish
from workers.measures import counters

NAME = "adding"


def started(job_id: str, worker: str = "w@1", attempts: int = 1) -> bytes:
    return records.started(Job(job_id, NAME, 1.0), 2.0, attempts=attempts, worker=worker)


def claim(with_redis: WithRedis, *job_ids: str, worker: str = "w@1") -> list[str]:
    claims = [Claim(job_id, started(job_id, worker), 1.0) for job_id in job_ids]
    return with_redis(lambda client: transitions.claim(client, NAME, claims))


def success(job_id: str, prediction: Any = 3, latency_ms: float = 5.0) -> Finish:
    outcome = json.dumps({"prediction": prediction}).encode()
    record = records.succeeded(Job(job_id, NAME, 1.0, attempts=1), outcome, 2.0, 3.0)
    return Finish(job_id, record, counters.Kind.SUCCEEDED, latency_ms)


def failure(job_id: str) -> Finish:
    record = records.failed(Job(job_id, NAME, 1.0), PredictionFailed("no"), 3.0)
    return Finish(job_id, record, counters.Kind.FAILED, None)


def finish(with_redis: WithRedis, *finishes: Finish, ttl_s: int | None = None) -> list[bool]:
    return with_redis(lambda client: transitions.finish(client, NAME, finishes, time.time(), ttl_s))


def test_queued_jobs_are_claimed_and_running_then(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(3)
    assert claim(with_redis, *ids) == ["", "", ""]
    for job_id in ids:
        job = query.get(job_id)
        assert (job.state, job.attempts, job.started_at) == (JobState.RUNNING, 1, 2.0)
    assert store.zcard(keys.unfinished(NAME)) == 3


def test_a_claim_tells_of_each_job_what_it_is(store: redis.Redis, with_redis: WithRedis) -> None:
    queued, running, cancelled, done = submit_ids(4)
    claim(with_redis, running, done, worker="w@0")
    query.cancel(cancelled)
    finish(with_redis, success(done))
    answers = claim(with_redis, queued, running, cancelled, done)
    assert answers == ["", started(running, "w@0").decode(), "REVOKED", "SUCCESS"]
    assert store.get(keys.record(running)) == started(running, "w@0")
    assert query.get(done).state is JobState.SUCCEEDED


def test_a_job_that_nobody_knew_is_known_once_it_is_claimed(store: redis.Redis, with_redis: WithRedis) -> None:
    assert claim(with_redis, "theirs") == [""]
    assert [job.job_id for job in query.recent(NAME)] == ["theirs"]
    assert store.smembers(keys.ENDPOINTS) == {NAME.encode()}
    assert store.zscore(keys.unfinished(NAME), "theirs") == 1.0
    finish(with_redis, success("theirs"))
    assert store.zcard(keys.unfinished(NAME)) == 0


def test_a_record_that_is_none_of_ours_makes_room_for_the_job(store: redis.Redis, with_redis: WithRedis) -> None:
    store.set(keys.record("odd"), "nonsense")
    assert claim(with_redis, "odd") == [""]
    assert query.get("odd").state is JobState.RUNNING


def test_an_attempt_that_was_lost_is_claimed_again_by_one_worker(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    claim(with_redis, job_id, worker="lost@1")
    [record] = claim(with_redis, job_id)

    def again(worker: str) -> bool:
        new = started(job_id, worker, 2)
        return with_redis(lambda client: transitions.claim_again(client, job_id, record.encode(), new))

    with ThreadPoolExecutor(4) as pool:
        mine = list(pool.map(again, [f"w@{number}" for number in range(8)]))
    assert mine.count(True) == 1
    assert json.loads(store.get(keys.record(job_id)) or b"")["result"]["hostname"] == f"w@{mine.index(True)}"
    assert query.get(job_id).attempts == 2


def test_what_has_ended_is_not_claimed_again(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    claim(with_redis, job_id)
    [record] = claim(with_redis, job_id)
    finish(with_redis, success(job_id))
    new = started(job_id, "w@2", 2)
    assert not with_redis(lambda client: transitions.claim_again(client, job_id, record.encode(), new))
    assert query.get(job_id).state is JobState.SUCCEEDED


def test_a_worker_that_stops_makes_its_running_jobs_queued_again_and_no_others(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    mine, other, ended, queued = submit_ids(4)
    claim(with_redis, mine, ended)
    claim(with_redis, other, worker="w@2")
    finish(with_redis, success(ended))
    held = [queued_job(job_id, submitted_at=4.0, expires_at=9.0) for job_id in (mine, other, ended, queued, "gone")]
    with_redis(lambda client: transitions.requeue(client, "w@1", held))
    states = [query.get(job_id).state for job_id in (mine, other, ended, queued)]
    assert states == [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED, JobState.QUEUED]
    job = query.get(mine)
    assert (job.attempts, job.submitted_at, job.expires_at) == (0, 4.0, 9.0)
    assert not store.exists(keys.record("gone"))


def test_the_first_outcome_stays_and_is_counted_once(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    claim(with_redis, job_id)
    assert finish(with_redis, success(job_id, "first")) == [True]
    assert finish(with_redis, success(job_id, "late")) == [False]
    assert finish(with_redis, failure(job_id)) == [False]
    outcome = query.get(job_id).outcome
    assert outcome is not None
    assert outcome["prediction"] == "first"
    counts = {b"succeeded": b"1", b"latency_ms": b"5", b"to 0.005": b"1", b"histogram_from_ms": b"0"}
    assert store.hgetall(keys.counts(NAME)) == counts


def test_many_finish_at_once_and_each_is_told_whether_it_was_the_first(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    new, cancelled, done = submit_ids(3)
    claim(with_redis, new, done)
    finish(with_redis, success(done))
    query.cancel(cancelled)
    assert finish(with_redis, success(new), success(cancelled), failure(done), success("unknown")) == [
        True, False, False, True,
    ]  # fmt: skip
    assert [query.get(job_id).state.value for job_id in (new, cancelled, done)] == [
        "succeeded",
        "cancelled",
        "succeeded",
    ]


def test_a_job_that_is_twice_in_a_batch_has_one_outcome(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    assert finish(with_redis, success(job_id, 3), success(job_id, 4)) == [True, False]
    assert (query.get(job_id).outcome or {})["prediction"] == 3
    assert store.hget(keys.counts(NAME), "succeeded") == b"1"


def test_leases_end_in_the_step_that_writes_the_records(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(3)
    with_redis(lambda client: Leases(client, 30).fetch({NAME: 3}))
    finishes = [success(job_id) for job_id in ids]
    with_redis(lambda client: transitions.finish(client, NAME, finishes, time.time(), None, ids[:2]))
    assert store.zrange(keys.LEASES, 0, -1) == store.hkeys(keys.LEASED) == [ids[2].encode()]


def test_counts_and_latencies_of_a_batch_are_those_of_its_jobs(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(5)
    finish(with_redis, *(success(job_id, latency_ms=5.125) for job_id in ids[:3]), *map(failure, ids[3:]))
    counts = {name: float(value) for name, value in store.hgetall(keys.counts(NAME)).items()}
    assert counts == {b"succeeded": 3, b"failed": 2, b"latency_ms": 15.375, b"to 0.01": 3, b"histogram_from_ms": 0}
    latencies = store.hgetall(keys.latencies(NAME, counters.window(time.time())))
    assert latencies == {str(counters.bucket(5.125)).encode(): b"3"}


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_of_two_workers_with_the_same_job_one_outcome_counts(
    store: redis.Redis, with_redis: WithRedis, first: str
) -> None:
    [job_id] = submit_ids(1)
    claim(with_redis, job_id)
    finishes = {"ours": success(job_id, "ours"), "theirs": success(job_id, "theirs")}
    finish(with_redis, finishes.pop(first))
    [late] = finishes.values()
    assert finish(with_redis, late) == [False]
    assert (query.get(job_id).outcome or {})["prediction"] == first


def test_what_has_ended_leaves_nothing_but_its_record(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = submit(expires=60).job_id
    assert store.exists(keys.message(job_id))
    claim(with_redis, job_id)
    heard = store.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    heard.subscribe(keys.record(job_id))
    heard.get_message(timeout=5)
    done = success(job_id)
    finish(with_redis, done, ttl_s=77)
    assert not store.exists(keys.message(job_id), keys.unfinished(NAME), keys.EXPIRING)
    assert 0 < store.ttl(keys.record(job_id)) <= 77
    message = heard.get_message(timeout=5)
    assert message is not None
    assert message["data"] == done.record
    heard.close()


def test_a_late_outcome_of_a_job_that_was_sent_again_lets_go_of_it_too(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    # Cancelled by force while a host had it: the record is final, and what is left is let go of.
    [job_id] = submit_ids(1)
    claim(with_redis, job_id)
    query.cancel(job_id, force=True)
    store.zadd(keys.unfinished(NAME), {job_id: 1.0})
    assert finish(with_redis, success(job_id)) == [False]
    assert store.zcard(keys.unfinished(NAME)) == 0
    assert query.get(job_id).state is JobState.CANCELLED
