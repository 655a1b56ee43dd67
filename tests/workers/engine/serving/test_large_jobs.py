"""A job's own rows go to the model in one call, unless a size is set; a host that is lost with them is no end."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from tests.workers.conftest import WithRedis
from tests.workers.engine.fakes import FakeHost
from tests.workers.stand_ins import context, deployment, queued_job
from workers.engine.batching.batch_size import BatchSize
from workers.engine.batching.batcher import Batcher
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving.batches.batch_run import BatchRun
from workers.hosts.worker_side.host import HostGone, HostTooBig, HostTooSlow
from workers.jobs import query
from workers.jobs.query import JobState

ROWS = 1_024
LOSSES = [HostGone("the model host was killed by SIGKILL."), HostTooBig(2, 1), HostTooSlow("it did not answer.")]


class Runs:
    """Runs batches of one deployment, each on a fake host of its own."""

    def __init__(self, with_redis: WithRedis, **settings: Any) -> None:
        self._with_redis = with_redis
        self._deployment = deployment(**settings)
        self.size = BatchSize(self._deployment.settings)
        #: The rows of each call of the model, for each batch.
        self.calls: list[list[int]] = []

    def run(self, *batch: QueuedJob, loss: HostGone | None = None, ends: bool = False) -> list[QueuedJob]:
        """Run a batch; return what has to run again. With `ends`, the host answers and exits."""

        async def ran(client: Redis) -> list[QueuedJob]:
            shared, host = context(client), FakeHost(1, None)
            host.error = loss
            host.exits_after_answer = ends
            again = await BatchRun(shared, self._deployment, list(batch), self.size).run(host)  # type: ignore[arg-type]
            await shared.settle()
            self.calls += host.calls
            return again

        return self._with_redis(ran)


@pytest.mark.parametrize(
    ("settings", "calls"),
    [
        ({}, [1_024]),
        ({"max_batch_size": "auto"}, [1_024]),
        ({"max_batch_size": 400}, [400, 400, 224]),
        ({"max_batch_size": 64}, [64] * 16),
    ],
)
def test_a_job_is_one_call_unless_a_size_is_set(
    store: redis.Redis, with_redis: WithRedis, settings: dict[str, Any], calls: list[int]
) -> None:
    runs = Runs(with_redis, **settings)
    assert runs.run(queued_job("large", ROWS)) == []
    assert runs.calls == [calls]
    outcome = query.get("large").outcome
    assert outcome is not None
    assert (len(outcome["predictions"]), outcome["batch_size"]) == (ROWS, ROWS)


def test_a_large_job_shares_its_call_with_no_other() -> None:
    batcher = Batcher(deployment().settings)
    batcher.put([queued_job("small"), queued_job("large", ROWS), queued_job("last", 64)])
    assert [[job.job_id for job in batcher.take()] for _ in range(3)] == [["small"], ["large"], ["last"]]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_a_large_job_that_loses_its_host_is_tried_again_in_small_calls_and_the_next_one_begins_with_them(
    store: redis.Redis, with_redis: WithRedis, loss: HostGone
) -> None:
    runs, job = Runs(with_redis, max_attempts=1), queued_job("large", ROWS)
    assert runs.run(job, loss=loss) == [job]
    assert runs.run(job) == []
    assert runs.run(queued_job("next", ROWS)) == []
    assert runs.calls == [[ROWS], [64] * 16, [64] * 16]
    assert query.get("large").state is JobState.SUCCEEDED
    assert [each["reason"] for each in query.get("large").failures] == [str(loss)]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("settings", [{}, {"max_batch_size": "auto"}, {"max_batch_size": 400}])
def test_it_is_tried_so_once_and_then_judged_as_any_job(
    store: redis.Redis, with_redis: WithRedis, loss: HostGone, settings: dict[str, Any]
) -> None:
    runs, job = Runs(with_redis, max_attempts=2, **settings), queued_job("large", ROWS)
    assert runs.run(job, loss=loss) == [job]
    assert runs.run(job, loss=loss) == []
    assert query.get("large").state is JobState.FAILED


def test_a_job_that_was_lost_in_small_calls_is_judged_at_once(store: redis.Redis, with_redis: WithRedis) -> None:
    runs = Runs(with_redis, max_batch_size=8)
    assert runs.run(queued_job("large", ROWS), loss=HostTooSlow("it did not answer.")) == []
    assert query.get("large").state is JobState.FAILED


def test_a_job_that_was_lost_elsewhere_gets_small_calls_and_others_do_not(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    runs, job = Runs(with_redis), queued_job("large", ROWS)
    job.failed("w@2", 1.0, "Worker w@2 was lost while it ran this job.")
    assert runs.run(job) == []
    assert runs.run(queued_job("next", ROWS)) == []
    assert runs.calls == [[64] * 16, [ROWS]]


def test_small_calls_are_no_measurement_of_what_a_large_one_takes(store: redis.Redis, with_redis: WithRedis) -> None:
    runs, job = Runs(with_redis, max_batch_size="auto"), queued_job("large", ROWS)
    job.failed("w@2", 1.0, "Worker w@2 was lost while it ran this job.")
    assert runs.run(job) == []
    assert runs.size.p95() is None


def test_a_host_that_outgrows_its_memory_with_an_answer_gets_small_calls_from_then_on(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    runs = Runs(with_redis)
    assert runs.run(queued_job("large", ROWS), ends=True) == []
    assert query.get("large").state is JobState.SUCCEEDED
    assert runs.run(queued_job("next", ROWS)) == []
    assert runs.calls == [[ROWS], [64] * 16]
