"""Pipelines: each step's prediction is the input of the next, and the whole is one job."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery.result import AsyncResult

from tests.support.waiting import eventually
from tests.workers.conftest import message_of
from tests.workers.pipelines.conftest import NAMES, Pipes
from workers import keys
from workers.app import app
from workers.errors import (
    IdempotencyConflict,
    JobNotCancellable,
    PredictionFailed,
    QueueFull,
    StepEndpointUndeployed,
    StepLost,
)
from workers.jobs import query, records
from workers.jobs.accept import Accepted, Limits
from workers.jobs.endings import successors as endings
from workers.jobs.query import JobState
from workers.pipelines import advancing, store, submitting
from workers.pipelines.advancing import Advance
from workers.pipelines.pipeline import Plan, with_steps
from workers.platform.ids import pipeline_of, step_id
from workers.queues.priorities import Priority
from workers.successors.publisher import Publisher


def test_the_prediction_of_a_step_is_the_input_of_the_next(pipes: Pipes) -> None:
    job = pipes.submit(row=[1.0])
    assert pipes.rows(job, 1) == [1.0]
    assert pipes.statuses(job) == ["queued", "waiting", "waiting"]
    pipes.worker.start(step_id(job.job_id, 1), "one")
    pipes.advance()
    assert query.get(job.job_id).state is JobState.RUNNING
    pipes.succeed(job, 1, [2.0])
    pipes.advance()
    assert pipes.rows(job, 2) == [2.0]
    assert pipes.statuses(job) == ["succeeded", "queued", "waiting"]
    pipes.succeed(job, 2, "text")
    pipes.advance()
    assert pipes.rows(job, 3) == "text"
    pipes.succeed(job, 3, {"label": "cat"})
    pipes.advance()
    found = query.get(job.job_id)
    assert (found.state, (found.outcome or {})["prediction"]) == (JobState.SUCCEEDED, {"label": "cat"})
    assert (found.outcome or {})["endpoint_name"] == "three"
    assert pipes.statuses(job) == ["succeeded"] * 3
    assert AsyncResult(job.job_id, app=app).get(timeout=1)["prediction"] == {"label": "cat"}
    assert not pipes.store.exists(keys.PIPELINES_DUE, keys.pipeline(job.job_id))


def test_many_rows_go_through_as_many_rows(pipes: Pipes) -> None:
    job = pipes.submit(("one", "two"), [1, 2], many=True)
    pipes.succeed(job, 1, [10, 20], many=True)
    pipes.advance()
    assert pipes.rows(job, 2) == [10, 20]
    pipes.succeed(job, 2, [11, 21], many=True)
    pipes.advance()
    assert (query.get(job.job_id).outcome or {})["predictions"] == [11, 21]


def test_steps_have_priority_owner_sticky_key_and_expiry_of_the_whole(pipes: Pipes) -> None:
    job = pipes.submit(owner="ann", priority=Priority.HIGH, sticky_key="s", expires_in_s=100)
    pipes.succeed(job, 1, 2)
    pipes.advance()
    for number in (1, 2):
        headers = message_of(pipes.store, step_id(job.job_id, 2)).headers
        step = pipes.step(job, 2)
        assert (step.owner, step.priority, step.sticky_key) == ("ann", Priority.HIGH, "s"), number
        assert step.expires_at == pytest.approx(job.expires_at, abs=1)
        assert headers["root_id"] == job.job_id
        assert headers["parent_id"] == step_id(job.job_id, 1)
    assert message_of_first(pipes, job.job_id) == (job.job_id, job.job_id)
    assert query.recent(owner="ann")[-1].job_id == job.job_id
    assert pipeline_of(step_id(job.job_id, 2)) == job.job_id


def message_of_first(pipes: Pipes, pipeline_id: str) -> tuple[Any, Any]:
    other = pipes.submit(("one", "two"))
    headers = message_of(pipes.store, step_id(other.job_id, 1)).headers
    same = headers["root_id"] == headers["parent_id"] == other.job_id
    return (pipeline_id, pipeline_id) if same else (None, None)


def test_a_step_that_fails_ends_the_pipeline_with_its_error(pipes: Pipes) -> None:
    job = pipes.submit()
    pipes.succeed(job, 1, 2)
    pipes.advance()
    pipes.worker.fail(step_id(job.job_id, 2), "two", "no such colour", traceback="model.py: line 1")
    pipes.advance()
    found = query.get(job.job_id)
    assert found.state is JobState.FAILED
    assert found.error == {
        "code": "prediction_failed",
        "type": "PredictionFailed",
        "message": "Step 2 of 3 (two): no such colour",
    }
    assert found.traceback == "model.py: line 1"
    assert pipes.statuses(job) == ["succeeded", "failed", "skipped"]
    with pytest.raises(PredictionFailed, match=r"Step 2 of 3 \(two\): no such colour"):
        AsyncResult(job.job_id, app=app).get(timeout=1)


@pytest.mark.parametrize("backlog", ["drain", "reject"])
def test_an_endpoint_that_is_undeployed_meanwhile_ends_the_pipeline(pipes: Pipes, backlog: str) -> None:
    job = pipes.submit()
    pipes.undeploy("two", backlog)
    pipes.succeed(job, 1, 2)
    pipes.advance()
    found = query.get(job.job_id)
    assert (found.error or {})["code"] == StepEndpointUndeployed.code
    assert "Step 2 of 3 (two)" in (found.error or {})["message"]
    assert pipes.statuses(job) == ["succeeded", "skipped", "skipped"]


def test_a_parked_endpoint_keeps_the_step_for_its_next_deploy(pipes: Pipes) -> None:
    job = pipes.submit()
    pipes.undeploy("two", "park")
    pipes.succeed(job, 1, 2)
    pipes.advance()
    assert pipes.statuses(job) == ["succeeded", "queued", "waiting"]


def test_a_full_queue_makes_the_next_step_wait(pipes: Pipes) -> None:
    job = pipes.submit()
    pipes.store.hset(keys.LIMITS, "two", 1)
    with pipes.database.session() as session:
        from registry import deployments

        deployments.configure(session, "two", settings={"max_queue_length": 1})
        session.commit()
    blocking = pipes.submit(("two", "three"))
    pipes.succeed(job, 1, 2)
    for _ in range(3):
        pipes.advance()
    assert query.get(job.job_id).state is JobState.RUNNING
    assert pipes.statuses(job) == ["succeeded", "waiting", "waiting"]
    pipes.worker.succeed(step_id(blocking.job_id, 1), "two", 5)

    def goes_on() -> bool:
        pipes.advance()
        return pipes.statuses(job) == ["succeeded", "queued", "waiting"]

    eventually(goes_on)


def test_a_pipeline_whose_first_queue_is_full_is_refused_and_leaves_nothing(pipes: Pipes) -> None:
    pipes.submit()
    before = set(pipes.store.scan_iter("*"))
    with pytest.raises(QueueFull):
        pipes.submit(limits=Limits(max_queue_length=1), key="k", callback_url="https://example.com/x", owner="ann")
    assert set(pipes.store.scan_iter("*")) == before
    assert pipes.submit(key="k").state is JobState.QUEUED


def test_an_idempotency_key_makes_one_pipeline(pipes: Pipes) -> None:
    first, again = pipes.submit(key="k"), pipes.submit(key="k")
    assert first.job_id == again.job_id
    assert pipes.store.llen("predict.one") == 1
    with pytest.raises(IdempotencyConflict):
        pipes.submit(row=2, key="k")


def test_a_cancelled_pipeline_takes_its_queued_step_back(pipes: Pipes) -> None:
    job = pipes.submit()
    pipes.succeed(job, 1, 2)
    pipes.advance()
    cancelled = submitting.cancel(job.job_id)
    assert cancelled.state is JobState.CANCELLED
    assert pipes.step(job, 2).state is JobState.CANCELLED
    assert pipes.statuses(job) == ["succeeded", "cancelled", "skipped"]
    pipes.advance()
    assert not pipes.store.exists(keys.pipeline(job.job_id), keys.PIPELINES_DUE)
    with pytest.raises(JobNotCancellable):
        submitting.cancel(job.job_id)


def test_a_cancelled_pipeline_takes_its_running_step_back_too(pipes: Pipes) -> None:
    job = pipes.submit()
    pipes.worker.start(step_id(job.job_id, 1), "one")
    submitting.cancel(job.job_id)
    step = pipes.step(job, 1)
    assert step.state is JobState.CANCELLED
    record: Any = pipes.store.get(keys.record(step.job_id))
    # Other jobs of the host are not lost for it, unless it is forced.
    assert b"stops_host" not in record


def test_a_pipeline_that_an_earlier_release_has_cancelled_goes_no_further(pipes: Pipes) -> None:
    job = pipes.submit()
    # As its API does.
    query.cancel(job.job_id)
    pipes.advance()
    assert pipes.step(job, 1).state is JobState.CANCELLED
    assert not pipes.store.exists(keys.pipeline(job.job_id))


def test_a_step_that_is_submitted_while_another_process_ends_its_pipeline_is_taken_back(
    pipes: Pipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, submit_step = pipes.submit(), advancing.submit_step
    pipes.succeed(job, 1, 2)

    def ended_meanwhile(plan: Plan, rows: Any, limits: Limits) -> Accepted:
        accepted = submit_step(plan, rows, limits)
        failed = records.failed(plan.job, StepEndpointUndeployed("as it looked there"), time.time())
        assert store.end(plan.job, with_steps(failed, plan.steps))
        return accepted

    monkeypatch.setattr(advancing, "submit_step", ended_meanwhile)
    pipes.advance()
    assert pipes.step(job, 2).state is JobState.CANCELLED


def test_a_step_that_is_cancelled_alone_cancels_the_pipeline(pipes: Pipes) -> None:
    job = pipes.submit()
    query.cancel(step_id(job.job_id, 1))
    pipes.advance()
    assert query.get(job.job_id).state is JobState.CANCELLED


def test_a_pipeline_expires_as_a_whole(pipes: Pipes, monkeypatch: pytest.MonkeyPatch) -> None:
    job = pipes.submit(expires_in_s=50)
    pipes.succeed(job, 1, 2)
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    pipes.advance()
    assert query.get(job.job_id).state is JobState.EXPIRED
    assert pipes.statuses(job) == ["succeeded", "skipped", "skipped"]
    assert pipes.store.llen("predict.two") == 0


def test_a_lost_outcome_ends_the_pipeline_with_its_name(pipes: Pipes) -> None:
    job = pipes.submit()
    pipes.succeed(job, 1, 2)
    pipes.store.delete(keys.record(step_id(job.job_id, 1)))
    pipes.advance()
    assert (query.get(job.job_id).error or {})["code"] == StepLost.code


def test_the_end_of_a_step_is_noted_and_any_publisher_goes_on_at_once(pipes: Pipes) -> None:
    job = pipes.submit(("one", "two"))
    pipes.succeed(job, 1, 2)
    # Its record may live for a second; the note has its outcome.
    pipes.store.delete(keys.record(step_id(job.job_id, 1)))
    publisher = Publisher()
    publisher._advance = Advance(pipes.database)
    publisher._publish_due(threading.Event())
    assert pipes.rows(job, 2) == 2
    pipes.succeed(job, 2, 3)
    publisher._publish_due(threading.Event())
    assert query.get(job.job_id).state is JobState.SUCCEEDED
    assert pipes.store.zcard(keys.SUCCESSORS_DUE) == pipes.store.hlen(keys.SUCCESSORS) == 0


def test_the_webhook_of_a_pipeline_is_sent_at_its_end_alone(pipes: Pipes) -> None:
    pipes.store.hset(keys.ENDPOINT_CALLBACKS, "one", "of.endpoint https://of.endpoint/")
    job = pipes.submit(("one", "two"), callback_url="https://example.com/done")
    pipes.succeed(job, 1, 2)
    pipes.advance()
    assert pipes.store.exists(keys.delivery(step_id(job.job_id, 1)))
    assert not pipes.store.exists(keys.delivery(job.job_id))
    pipes.succeed(job, 2, 3)
    pipes.advance()
    stored: Any = pipes.store.hgetall(keys.delivery(job.job_id))
    assert (stored[b"url"], stored[b"endpoint_name"]) == (b"https://example.com/done", b"one")
    assert not pipes.store.exists(keys.delivery(step_id(job.job_id, 2)))


class Died(BaseException):
    """The process is killed here."""


def run_through(pipes: Pipes, dies_after: int | None, monkeypatch: pytest.MonkeyPatch) -> int:
    """Submit and advance a pipeline, killed before a command, and then go on; return how many commands were sent."""
    sent = 0
    execute: Any = redis.Redis.execute_command

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal sent
        sent += 1
        if dies_after is not None and sent > dies_after:
            raise Died
        return execute(self, *args, **kwargs)

    pipeline_id = ""
    with monkeypatch.context() as patch:
        patch.setattr(redis.Redis, "execute_command", counted)
        try:
            pipeline_id = pipes.submit(("one", "two"), key="k").job_id
            pipes.succeed(query.JobView(pipeline_id, "one", 0.0, state=JobState.QUEUED), 1, 2)
            pipes.mover._advance(pipeline_id)
        except Died:
            pass
    for _ in range(4):
        for each in pipes.unfinished():
            finish_steps(pipes, each)
        pipes.advance()
    return sent


def finish_steps(pipes: Pipes, pipeline_id: str) -> None:
    for number in (1, 2):
        job = query.parse_if_readable("", pipes.store.get(keys.record(step_id(pipeline_id, number))))  # type: ignore[arg-type]
        if job is not None and not job.state.terminal:
            pipes.worker.succeed(step_id(pipeline_id, number), NAMES[number - 1], number)


def test_a_pipeline_survives_the_death_of_its_process_before_any_command(
    pipes: Pipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_through(pipes, None, monkeypatch)
    assert 10 < whole < 60
    for dies_after in range(whole):
        pipes.store.flushall()
        run_through(pipes, dies_after, monkeypatch)
        jobs = [each for each in query.recent() if each.steps]
        ended = pipes.store.hgetall(keys.counts("one")), pipes.store.hgetall(keys.counts("two"))
        if not jobs:
            # It was not accepted, so its caller got no answer: nothing of it runs.
            assert ended == ({}, {}), dies_after
            continue
        assert [each.state for each in jobs] == [JobState.SUCCEEDED], dies_after
        # Each step has ended once.
        assert [each[b"succeeded"] for each in ended] == [b"1", b"1"], dies_after


def test_a_plan_that_is_not_signed_is_not_followed_where_messages_must_be(
    pipes: Pipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = pipes.submit()
    pipes.succeed(job, 1, 2)
    monkeypatch.setattr(endings, "load", lambda: SimpleNamespace(message_keys=("k" * 40,)))
    pipes.advance()
    assert pipes.store.llen("predict.two") == 0
    assert not pipes.store.exists(keys.pipeline(job.job_id), keys.PIPELINES_DUE)
    found = query.get(job.job_id)
    assert (found.state, pipes.statuses(job)[1:]) == (JobState.FAILED, ["skipped", "skipped"])
    assert "QUEUECAST_MESSAGE_KEY" in str((found.error or {})["message"])


def test_a_pipeline_is_kept_for_as_long_as_its_step_waits(pipes: Pipes) -> None:
    job = pipes.submit(row=[1.0])
    stored = [keys.record(job.job_id), keys.pipeline(job.job_id)]
    for name in stored:
        pipes.store.expire(name, 5)
    store.look_again(job.job_id, 1.0)
    assert all(int(pipes.store.ttl(name)) > 5 for name in stored)


def test_an_ended_pipeline_is_kept_no_longer_than_its_outcome(pipes: Pipes) -> None:
    job = pipes.submit(row=[1.0])
    for number, prediction in ((1, [2.0]), (2, [3.0]), (3, 4.0)):
        pipes.succeed(job, number, prediction)
        pipes.advance()
    assert query.get(job.job_id).state is JobState.SUCCEEDED
    pipes.store.expire(keys.record(job.job_id), 5)
    store.look_again(job.job_id, 1.0)
    assert int(pipes.store.ttl(keys.record(job.job_id))) <= 5
