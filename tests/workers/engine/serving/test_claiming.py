"""Claims: lost attempts are counted; such jobs run alone, and fail after the last attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import redis
from redis.asyncio import Redis

from tests.workers.conftest import WithRedis, submit_ids
from tests.workers.stand_ins import RecordingIntake, context, deployment, events, queued_job
from workers import keys
from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving import finish
from workers.engine.serving.batches.claims import Claimed, Claims
from workers.jobs import query
from workers.jobs.job import Failure
from workers.jobs.query import JobState

LOST: Failure = {"attempt": 1, "worker": "dead@1", "at": 5.0, "reason": "Worker dead@1 was lost while it ran this job."}


class Worker:
    """Claims batches as one worker, with a context of its own each time."""

    def __init__(self, with_redis: WithRedis, name: str = "w@1", max_attempts: int = 3) -> None:
        self._with_redis = with_redis
        self._name = name
        self._deployment = deployment(max_attempts=max_attempts)
        self.intake = RecordingIntake()
        self.events: list[tuple[str, str]] = []

    def claim(self, *batch: QueuedJob) -> Claimed:
        async def made(context: Context) -> Claimed:
            claimed = await Claims(context, self._deployment, 5.0).make(list(batch))
            await finish.write(context, self._deployment, claimed.ends)
            return claimed

        return self.do(made)

    def do(self, what: Callable[[Context], Awaitable[Claimed]]) -> Claimed:
        async def done(client: Redis) -> Claimed:
            shared = context(client, self._name, self.intake)
            result = await what(shared)
            await shared.settle()
            self.events += events(shared)
            return result

        return self._with_redis(done)


def held(job_id: str) -> QueuedJob:
    """The job as a worker reads it that has just fetched it."""
    return queued_job(job_id, submitted_at=1.0)


def ids(claimed: list[QueuedJob]) -> list[str]:
    return [job.job_id for job in claimed]


def test_a_batch_of_new_jobs_is_claimed(store: redis.Redis, with_redis: WithRedis) -> None:
    batch = [held(job_id) for job_id in submit_ids(3)]
    claimed = Worker(with_redis).claim(*batch)
    assert claimed == (batch, [], [])
    assert [job.attempts for job in batch] == [1, 1, 1]
    assert not any(job.alone for job in batch)
    assert query.get(batch[0].job_id).attempts == 1


def test_what_has_ended_is_acknowledged_and_dropped(store: redis.Redis, with_redis: WithRedis) -> None:
    new, cancelled = submit_ids(2)
    query.cancel(cancelled)
    worker = Worker(with_redis)
    claimed = worker.claim(held(new), held(cancelled))
    assert ids(claimed.jobs) == [new]
    assert worker.intake.acked == [cancelled]
    assert worker.events == [("task-revoked", cancelled)]


def test_a_lost_attempt_is_told_from_its_batch_and_runs_alone(store: redis.Redis, with_redis: WithRedis) -> None:
    lost, new = submit_ids(2)
    Worker(with_redis, "dead@1").claim(held(lost))
    batch = [held(lost), held(new)]
    worker = Worker(with_redis)
    claimed = worker.claim(*batch)
    assert (ids(claimed.jobs), ids(claimed.suspects), claimed.ends) == ([new], [lost], [])
    assert batch[0].alone
    again = worker.claim(batch[0])
    assert ids(again.jobs) == [lost]
    job = query.get(lost)
    assert (job.state, job.attempts, list(job.failures)) == (JobState.RUNNING, 2, [LOST])


def test_a_job_that_kills_worker_after_worker_is_given_up_and_kept(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    for number in range(3):
        claimed = Worker(with_redis, f"dead@{number}").claim(held(job_id))
        assert ids(claimed.jobs) == [job_id]
        assert query.get(job_id).attempts == number + 1
    worker = Worker(with_redis)
    claimed = worker.claim(held(job_id))
    assert (claimed.jobs, claimed.suspects, len(claimed.ends)) == ([], [], 1)
    job = query.get(job_id)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert (job.error["code"], job.attempts) == ("poison_job", 3)
    assert [(each["attempt"], each["worker"]) for each in job.failures] == [(1, "dead@0"), (2, "dead@1"), (3, "dead@2")]
    assert store.exists(keys.dead_letter(job_id))
    assert worker.intake.acked == [job_id]
    assert worker.events == [("task-failed", job_id)]


def test_one_attempt_may_be_all_that_is_wanted(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    Worker(with_redis, "dead@1").claim(held(job_id))
    claimed = Worker(with_redis, max_attempts=1).claim(held(job_id))
    assert len(claimed.ends) == 1
    assert query.get(job_id).state is JobState.FAILED


def test_an_attempt_on_this_worker_whose_host_was_lost_goes_on_counting(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    worker, job = Worker(with_redis), held(*submit_ids(1))
    worker.claim(job)
    job.failed("w@1", 6.0, "its host died")
    claimed = worker.claim(job)
    assert ids(claimed.jobs) == [job.job_id]
    found = query.get(job.job_id)
    assert (found.attempts, [each["reason"] for each in found.failures]) == (2, ["its host died"])


def test_a_job_that_another_worker_claims_at_the_same_moment_is_left_to_it(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    [job_id] = submit_ids(1)
    Worker(with_redis, "dead@1").claim(held(job_id))
    claimed: dict[str, Claimed] = {}

    async def both(client: Redis) -> None:
        first, second = context(client, "first@1"), context(client, "second@1")
        for shared in (first, second):
            # The other one reads the record now, and is too late with its own.
            claims = Claims(shared, deployment(), 5.0)
            record = await client.get(keys.record(job_id))
            assert isinstance(record, bytes)
            seen.append((claims, record))
        for claims, record in seen:
            job = held(job_id)
            into = Claimed([], [], [])
            await claims._claim_again(job, record, into)
            claimed[claims._context.worker_name] = into

    seen: list[tuple[Claims, bytes]] = []
    with_redis(both)
    assert ids(claimed["first@1"].jobs) == [job_id]
    assert ids(claimed["second@1"].suspects) == [job_id]
    assert query.get(job_id).attempts == 2


def test_a_record_without_what_ours_say_is_still_an_attempt(store: redis.Redis, with_redis: WithRedis) -> None:
    # As Celery itself writes it.
    store.set(keys.record("theirs"), b'{"status": "STARTED", "result": null, "task_id": "theirs"}')
    claimed = Worker(with_redis).claim(held("theirs"))
    assert ids(claimed.jobs) == ["theirs"]
    assert query.get("theirs").attempts == 2


def test_an_attempt_of_this_worker_that_it_does_not_know_of_was_lost(store: redis.Redis, with_redis: WithRedis) -> None:
    """It has the name of a process that was killed, as a container that was started again has."""
    [job_id] = submit_ids(1)
    Worker(with_redis).claim(held(job_id))
    claimed = Worker(with_redis).claim(held(job_id))
    assert ids(claimed.jobs) == [job_id]
    job = query.get(job_id)
    assert (job.attempts, [each["worker"] for each in job.failures]) == (2, ["w@1"])
