"""Keys of the wrong type: each affects one job or one endpoint, which shows it, and nothing else."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from tests.support.waiting import until
from tests.workers.conftest import WithRedis, submit, submit_ids
from tests.workers.engine.intake.test_redis import QUEUE, RecordingTaker, running
from tests.workers.engine.serving.test_claiming import Worker, held, ids
from tests.workers.engine.upkeep.test_sweeper import age, queued, sweep
from tests.workers.stand_ins import context, deployment, endpoint_report, version_report, worker_report
from workers import keys
from workers.deployments import status
from workers.engine import supervision
from workers.engine.intake.redis import RedisIntake
from workers.engine.serving import finish
from workers.errors import JobNotFound
from workers.jobs import query, records, transitions
from workers.jobs.query import JobState
from workers.jobs.transitions import Claim
from workers.measures import reports
from workers.measures.counters import Kind
from workers.measures.reports import HostsState
from workers.platform.redis.client import refuses_for_good
from workers.queues.naming import queue_name


def spoil(store: redis.Redis, *names: str) -> None:
    """Put a list where something else belongs."""
    for name in names:
        store.delete(name)
        store.rpush(name, "what a program wrote")


def write_ends(with_redis: WithRedis, *job_ids: str) -> tuple[list[bool], list[str | None]]:
    said: list[str | None] = []
    ends = [
        transitions.Finish(job_id, b'{"status": "SUCCESS", "result": {}}', Kind.SUCCEEDED, 1.0) for job_id in job_ids
    ]
    written = with_redis(lambda client: transitions.finish(client, "adding", ends, time.time(), None, (), said.append))
    return written, said


def test_a_record_that_is_no_string_is_written_over_and_its_batch_is_claimed(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    wrong, right = submit_ids(2)
    spoil(store, keys.record(wrong))
    claimed = Worker(with_redis).claim(held(wrong), held(right))
    assert ids(claimed.jobs) == [wrong, right]
    assert query.get(wrong).state is JobState.RUNNING


@pytest.mark.parametrize("record", [b'{"status": "STARTED", \xff', b'{"status": "STARTED", "result": [1]}'])
def test_an_attempt_that_can_not_be_read_is_a_lost_one(
    store: redis.Redis, with_redis: WithRedis, record: bytes
) -> None:
    wrong, right = submit_ids(2)
    store.set(keys.record(wrong), record)
    claimed = Worker(with_redis).claim(held(wrong), held(right))
    assert (ids(claimed.jobs), ids(claimed.suspects)) == ([right], [wrong])
    assert ids(Worker(with_redis).claim(held(wrong)).jobs) == [wrong]
    assert query.get(wrong).attempts == 2


def test_a_job_ends_although_its_record_is_no_string(store: redis.Redis, with_redis: WithRedis) -> None:
    wrong, right = submit_ids(2)
    spoil(store, keys.record(wrong), keys.message(wrong))
    assert write_ends(with_redis, wrong, right) == ([True, True], [None])


@pytest.mark.parametrize(
    "name",
    [
        keys.unfinished("adding"),
        keys.EXPIRING,
        keys.counts("adding"),
        keys.levels("adding"),
        keys.CALLBACKS,
        keys.ENDPOINT_CALLBACKS,
    ],
)
def test_a_job_ends_whatever_beside_its_record_is_wrong_and_that_is_said(
    store: redis.Redis, with_redis: WithRedis, name: str
) -> None:
    job_ids = submit_ids(2)
    spoil(store, name)
    written, [said] = write_ends(with_redis, *job_ids)
    assert written == [True, True]
    assert "WRONGTYPE" in str(said)
    assert {query.get(job_id).state for job_id in job_ids} == {JobState.SUCCEEDED}


@pytest.mark.parametrize("name", [keys.recent("adding"), keys.unfinished("adding"), keys.ENDPOINTS])
def test_a_batch_is_claimed_whatever_beside_its_records_is_wrong_and_that_is_said(
    store: redis.Redis, with_redis: WithRedis, name: str
) -> None:
    spoil(store, name)
    said: list[str | None] = []
    claims = [Claim("new", b'{"status": "STARTED"}', 1.0)]
    assert with_redis(lambda client: transitions.claim(client, "adding", claims, said.append)) == [""]
    assert "WRONGTYPE" in str(said)


def test_a_job_is_cancelled_whatever_beside_its_record_is_wrong(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    spoil(store, keys.counts("adding"), keys.EXPIRING)
    assert query.cancel(job_id).state is JobState.CANCELLED


def test_what_is_refused_is_not_half_stored(store: redis.Redis) -> None:
    store.set(QUEUE, "no list")
    with pytest.raises(Exception, match=r"."):
        submit(task_id="mine")
    with pytest.raises(JobNotFound):
        query.get("mine")
    assert store.exists(keys.message("mine"), keys.unfinished("adding")) == 0


def test_a_queue_that_is_no_list_stops_no_other_and_that_is_said(store: redis.Redis, with_redis: WithRedis) -> None:
    spoil(store, "spare")
    store.set(QUEUE, "no list")
    [job_id] = submit_ids(1, "other")

    async def take(client: Redis) -> None:
        async with running(client, adding=5, other=5) as now:
            await until(lambda: now.sinks["other"].ids == [job_id])
            assert "WRONGTYPE" in str(now.sinks["adding"].refused)
            assert now.sinks["other"].refused is None
            store.delete(QUEUE)
            late = (await asyncio.to_thread(submit)).job_id
            now.intake.ring("adding")
            await until(lambda: now.sinks["adding"].ids == [late])
            assert now.sinks["adding"].refused is None

    with_redis(take)


def test_depths_and_statuses_are_told_of_the_others(store: redis.Redis, with_redis: WithRedis) -> None:
    store.set(QUEUE, "no list")
    spoil(store, keys.counts("adding"))
    submit_ids(1, "other")
    sinks = {"adding": RecordingTaker()}
    depths = with_redis(lambda client: RedisIntake(client, sinks, 20.0).depths(["adding", "other"]))
    assert depths == {"adding": 0, "other": 1}
    seen = status.views([deployment("adding"), deployment("other")])
    assert [each["queue_depth"] for each in seen] == [0, 1]


def test_the_sweeper_goes_on_with_other_endpoints_and_jobs(store: redis.Redis, with_redis: WithRedis) -> None:
    lost = {name: submit_ids(1, name)[0] for name in ("a", "adding", "z")}
    late = submit(task_id="late", expires=-1).job_id
    for name, job_id in lost.items():
        age(store, job_id, name=name)
    store.delete(*(queue_name(name) for name in lost))
    spoil(store, keys.record(lost["z"]))
    store.set(QUEUE, "no list")
    sweep(with_redis)
    assert [len(queued(store, queue_name(name))) for name in ("a", "z")] == [1, 1]
    assert query.get(late).state is JobState.EXPIRED


def test_an_endpoint_says_what_is_refused_until_it_is_done(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_FIRST_RETRY_S", 0.001)
    spoil(store, "wrong")

    async def run(client: Redis) -> dict[str, Any]:
        shared = context(client)
        seen: list[dict[str, Any]] = []

        async def step() -> Any:
            seen.append(dict(shared.troubles.get("adding", {})))
            return await client.get("wrong" if len(seen) < 3 else "right")

        await shared.for_endpoint("adding", "claim jobs", step)
        assert seen[0] == {}
        assert "WRONGTYPE" in seen[1]["claim jobs"]
        assert shared.changed.is_set()
        return shared.troubles["adding"]

    assert with_redis(run) == {}


def test_a_deployment_whose_jobs_redis_refuses_is_degraded(store: redis.Redis, with_redis: WithRedis) -> None:
    report = endpoint_report(version_report(HostsState.READY))
    report["trouble"] = "Can't claim jobs: WRONGTYPE"
    with_redis(lambda client: reports.write(client, worker_report(endpoints={"adding": report})))
    [view] = status.views([deployment("adding")])
    assert (view["status"], "WRONGTYPE" in view["reason"]) == ("degraded", True)


def test_jobs_end_although_a_dead_letter_beside_them_is_refused(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_FIRST_RETRY_S", 0.001)
    poisonous, good = (held(job_id) for job_id in submit_ids(2))
    poisonous.failed("w@1", 1.0, "lost")
    spoil(store, keys.DEAD_LETTERS)

    async def run(client: Redis) -> None:
        shared = context(client)
        given_up = finish.poison(shared, deployment(), poisonous, 2.0)
        ends = [given_up, finish.withdrawn(shared, good, records.CANCELLED, 2.0)]
        writing = asyncio.create_task(finish.write(shared, deployment(), ends))
        async with asyncio.timeout(10):
            while "keep dead letters" not in shared.troubles.get("adding", {}):
                await asyncio.sleep(0.005)
        assert (await asyncio.to_thread(query.get, good.job_id)).state is JobState.CANCELLED
        store.delete(keys.DEAD_LETTERS)
        async with asyncio.timeout(10):
            await writing

    with_redis(run)
    assert query.get(poisonous.job_id).state is JobState.FAILED


@pytest.mark.parametrize(
    ("error", "for_good"),
    [
        (redis.ResponseError("WRONGTYPE Operation against a key"), True),
        (redis.exceptions.NoPermissionError("NOPERM this user"), True),
        (redis.OutOfMemoryError("command not allowed"), False),
        (redis.ResponseError("MISCONF Redis is configured to save"), False),
        (redis.ResponseError("BUSY Redis is busy running a script"), False),
        (redis.ReadOnlyError("You can't write"), False),
        (redis.ConnectionError("away"), False),
        (redis.TimeoutError("late"), False),
    ],
)
def test_what_is_refused_for_good_is_told_from_what_passes(error: Exception, for_good: bool) -> None:
    assert refuses_for_good(error) is for_good
