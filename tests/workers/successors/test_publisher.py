"""Successors of jobs: each end of a job notes them in its own step, and any process publishes them, ours once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import redis
from celery import Celery, chord, group
from celery.exceptions import ChordError

from api.errors import extras_of, status_of
from tests.support.waiting import eventually
from tests.workers.conftest import WithRedis
from tests.workers.conftest import publish_successors as publish
from workers import keys, tasks
from workers.endpoints import names
from workers.engine.intake import messages as intake
from workers.engine.intake.messages import QueuedJob
from workers.errors import (
    EndpointUnknown,
    InputRejected,
    JobArgumentsWrong,
    PredictionFailed,
    QueueUnavailable,
    SuccessorsTooLong,
    WorkerError,
)
from workers.jobs import accept, emptying, query, records, transitions
from workers.jobs.endings import successors
from workers.jobs.job import Job
from workers.jobs.query import JobState
from workers.jobs.transitions import Finish
from workers.measures import counters
from workers.platform.ids import new_id
from workers.platform.redis.client import records_client
from workers.queues import arguments, envelopes
from workers.queues.naming import queue_name
from workers.settings import load
from workers.successors import celery_app, full_queues, notes, submission
from workers.successors.publisher import Publisher

FIRST, SECOND, THIRD = "first", "second", "third"
OUTCOME = {
    "prediction": "a+", "endpoint_name": FIRST, "model_name": FIRST, "version": "1", "worker": "w", "batch_size": 1,
    "timing": {"queued_ms": 1.0, "predict_ms": 1.0, "total_ms": 2.0}, "attempts": 1,
}  # fmt: skip


@pytest.fixture
def ends(with_redis: WithRedis) -> Ends:
    return Ends(with_redis)


class Ends:
    """Each way in which a job can end."""

    def __init__(self, with_redis: WithRedis) -> None:
        self._with_redis = with_redis

    def succeed(self, job_id: str, outcome: dict[str, Any] | None = None) -> None:
        record = records.succeeded(Job(job_id, FIRST, 1.0), json.dumps(outcome or OUTCOME).encode(), 2.0, 3.0)
        self._finish(Finish(job_id, record, counters.Kind.SUCCEEDED, 1.0))

    def fail(self, job_id: str, error: WorkerError | None = None) -> None:
        record = records.failed(Job(job_id, FIRST, 1.0), error or PredictionFailed("not liked"), 3.0)
        self._finish(Finish(job_id, record, counters.Kind.FAILED, None))

    def reject(self, job_id: str) -> None:
        record = records.revoked(Job(job_id, FIRST, 1.0), records.CANCELLED, 3.0)
        self._finish(Finish(job_id, record, counters.Kind.WITHDRAWN, None))

    def cancel(self, job_id: str) -> None:
        query.cancel(job_id)

    def cancel_running(self, job_id: str) -> None:
        record = records.started(Job(job_id, FIRST, 1.0), 2.0, attempts=1, worker="w")
        claim = transitions.Claim(job_id, record, 1.0)
        self._with_redis(lambda client: transitions.claim(client, FIRST, [claim]))
        query.cancel(job_id, force=True)

    def expire(self, job_id: str) -> None:
        self._with_redis(lambda client: transitions.expire(client, Job(job_id, FIRST, 1.0), time.time()))

    def empty(self, _job_id: str) -> None:
        emptying.cancel_queued(emptying.Which(FIRST))

    def keep(self, jobs: list[QueuedJob]) -> None:
        """As a worker does that receives them."""
        self._with_redis(lambda client: intake.keep_successors(client, jobs))

    def _finish(self, finish: Finish) -> None:
        self._with_redis(lambda client: transitions.finish(client, FIRST, [finish], time.time(), None))


WITHDRAWN = ["reject", "cancel", "cancel_running", "expire", "empty"]


def step(job_id: str, endpoint_name: str, **options: Any) -> Any:
    return tasks.predict.signature((), kwargs={"endpoint_name": endpoint_name}, task_id=job_id, **options)


def submit(*steps: Any, owner: str | None = None) -> str:
    """Submit a job that these follow, one after the other; a chain has its next one last."""
    return accept.submit((FIRST, "a"), {}, task_id=new_id(), owner=owner, chain=list(reversed(steps))).job_id


def send_bare(app: Celery, *steps: Any) -> QueuedJob:
    """Send a job of a bare program that these follow; return it as a worker takes it from its queue."""
    app.send_task("predict", args=[FIRST, "a"], queue=queue_name(FIRST), chain=list(reversed(steps)))
    message = records_client().rpop(queue_name(FIRST))
    assert isinstance(message, bytes)
    return intake.parse("", FIRST, message)


def messages(store: redis.Redis, endpoint_name: str) -> int:
    return int(store.llen(queue_name(endpoint_name)))


def call_of(store: redis.Redis, job_id: str) -> Any:

    message = store.get(keys.message(job_id))
    assert isinstance(message, bytes)
    return envelopes.decode(message).arguments()


def make_due(store: redis.Redis) -> None:
    for note in cast("list[bytes]", store.zrange(keys.SUCCESSORS_DUE, 0, -1)):
        store.zadd(keys.SUCCESSORS_DUE, {note: 0})


def test_the_next_step_gets_the_prediction_under_its_own_id(store: redis.Redis, ends: Ends) -> None:
    job_id = submit(step("b", SECOND, priority="high"), step("c", THIRD))
    assert messages(store, SECOND) == 0
    ends.succeed(job_id)
    publish()
    assert call_of(store, "b") == ([SECOND, "a+"], {})
    assert query.get("b").priority == "high"
    assert store.hkeys(keys.SUCCESSORS) == [b"b"]
    assert not store.exists(keys.SUCCESSORS_DUE)


def test_predictions_of_many_rows_are_the_inputs_of_the_next_step(store: redis.Redis, ends: Ends) -> None:
    job_id = submit(step("b", SECOND))
    many = {name: value for name, value in OUTCOME.items() if name != "prediction"} | {"predictions": [1, 2]}
    ends.succeed(job_id, many)
    publish()
    assert call_of(store, "b") == ([SECOND], {"inputs": [1, 2]})


def test_a_failure_is_that_of_all_that_follows_as_in_celery(store: redis.Redis, ends: Ends) -> None:
    job_id = submit(step("b", SECOND), step("c", THIRD))
    ends.fail(job_id)
    publish()
    for each, endpoint_name in (("b", SECOND), ("c", THIRD)):
        job = query.get(each)
        assert (job.state, job.endpoint_name) == (JobState.FAILED, endpoint_name)
        assert job_id in (job.error or {})["message"]
        with pytest.raises(PredictionFailed, match="not liked"):
            tasks.predict.AsyncResult(each).get(timeout=5)
    assert (messages(store, SECOND), messages(store, THIRD)) == (0, 0)
    assert not store.exists(keys.SUCCESSORS, keys.SUCCESSORS_DUE)


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
@pytest.mark.parametrize("how", WITHDRAWN)
def test_each_other_end_stops_the_chain_and_fails_the_chord(store: redis.Redis, ends: Ends, how: str) -> None:
    body = step("body", THIRD)
    chord = {"chord": body, "group_id": "g", "group_index": 0}
    store.set("celery-taskset-meta-g.s", 1)
    job_id = accept.submit((FIRST, "a"), {}, task_id=new_id(), chain=[step("b", SECOND)], **chord).job_id
    getattr(ends, how)(job_id)
    assert query.get(job_id).state.terminal
    publish()
    assert not store.exists(keys.record("b"))
    with pytest.raises(ChordError, match="TaskRevokedError"):
        tasks.predict.AsyncResult("body").get(timeout=5)
    assert (messages(store, SECOND), messages(store, THIRD)) == (0, 0)
    assert not store.exists(keys.SUCCESSORS, keys.SUCCESSORS_DUE)


def test_a_step_is_submitted_once_however_many_publish_it(store: redis.Redis, ends: Ends) -> None:
    job_id = submit(step("b", SECOND))
    ends.succeed(job_id)
    [note] = notes.lease_due()
    Publisher()._follow(note)  # and dies before it is settled
    publish()
    assert messages(store, SECOND) == 1
    assert notes.lease_due() == []
    make_due(store)
    publish()
    assert messages(store, SECOND) == 1
    assert not store.exists(keys.SUCCESSORS_DUE)


def test_what_a_lost_process_has_not_published_is_published_by_another(store: redis.Redis, ends: Ends) -> None:
    job_id = submit(step("b", SECOND))
    ends.succeed(job_id)
    assert len(notes.lease_due()) == 1  # by a process that dies now
    publish()
    assert messages(store, SECOND) == 0
    due_at = store.zscore(keys.SUCCESSORS_DUE, f"end {job_id}")
    assert isinstance(due_at, float)
    assert 0 < due_at - time.time() <= notes.lease_s()
    make_due(store)
    publish()
    assert messages(store, SECOND) == 1


def test_a_full_queue_holds_the_next_step_up_and_does_not_fail_it(store: redis.Redis, ends: Ends) -> None:
    store.hset(keys.LIMITS, SECOND, 1)
    blocking = accept.submit((SECOND, "x"), {}).job_id
    job_id = submit(step("b", SECOND), step("c", THIRD))
    ends.succeed(job_id)
    publish()
    assert not store.exists(keys.record("b"))
    for _ in range(3):
        make_due(store)
        publish()
    assert not store.exists(keys.record("b"))
    query.cancel(blocking)
    make_due(store)
    publish()
    assert query.get("b").state is JobState.QUEUED
    assert store.hkeys(keys.SUCCESSORS) == [b"b"]
    assert not store.exists(keys.SUCCESSORS_DUE)


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
@pytest.mark.parametrize("waits_for", ["room", "endpoint"])
def test_a_kept_job_expires_when_its_time_comes(
    store: redis.Redis, ends: Ends, monkeypatch: pytest.MonkeyPatch, waits_for: str
) -> None:
    store.hset(keys.LIMITS, SECOND, 1)
    accept.submit((SECOND, "x"), {})
    if waits_for == "endpoint":
        undeploy(monkeypatch, SECOND)
    chord = {"chord": step("body", THIRD), "group_id": "g", "group_index": 0}
    store.set("celery-taskset-meta-g.s", 1)
    ends.succeed(submit(step("b", SECOND, expires=0.3, **chord), step("c", THIRD)))
    publish()
    note = f"{successors.SUBMIT_OF}b"
    for _ in range(8):  # what is retried for the 8th time isn't tried for half a minute
        store.hincrby(keys.successor_note(note), "tries", 1)
    make_due(store)
    publish()
    assert not store.exists(keys.record("b"))

    def has_ended() -> bool:
        publish()
        return bool(store.exists(keys.record("b")))

    eventually(has_ended, 5, message="it ends when it expires")
    job = query.get("b")
    assert (job.state, job.endpoint_name) == (JobState.EXPIRED, SECOND)
    publish()
    assert not store.exists(keys.record("c"))
    with pytest.raises(ChordError, match="TaskRevokedError"):
        tasks.predict.AsyncResult("body").get(timeout=5)
    assert not store.exists(keys.SUCCESSORS_DUE, keys.successor_note(note))


@pytest.fixture
def tried(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The endpoints for which a job is submitted, while 100 jobs wait for room in one of them."""
    store.hset(keys.LIMITS, SECOND, 1)
    accept.submit((SECOND, "x"), {})
    with celery_app.following("a", None):
        for number in range(100):
            submission.submit(f"kept-{number}", [SECOND, "a"], {}, None, {})
    make_due(store)
    found: list[str] = []
    original = accept.submit

    def submitted(args: Any, kwargs: Any, **options: Any) -> Any:
        found.append(arguments.parse(args, kwargs).endpoint_name)
        return original(args, kwargs, **options)

    monkeypatch.setattr(accept, "submit", submitted)
    return found


def test_many_jobs_that_wait_for_room_hold_up_no_other_one(
    store: redis.Redis, ends: Ends, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full_queues, "REMEMBERED_S", 0.0)
    ends.succeed(submit(step("b", THIRD)))
    tried.clear()
    publish()
    assert tried.count(SECOND) == 100
    assert tried.index(THIRD) < notes.TAKEN_AT_ONCE


def test_of_many_jobs_for_a_full_queue_one_is_tried(
    store: redis.Redis, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full_queues, "REMEMBERED_S", 60.0)
    publish()
    assert tried == [SECOND]
    assert store.zcount(keys.SUCCESSORS_DUE, time.time(), "inf") == 100, "all are due later"
    monkeypatch.setattr(full_queues, "REMEMBERED_S", 0.0)
    store.hdel(keys.LIMITS, SECOND)
    make_due(store)
    publish()
    assert len(tried) == 101
    assert not store.exists(keys.SUCCESSORS_DUE)


def undeploy(monkeypatch: pytest.MonkeyPatch, endpoint_name: str) -> None:
    def check(name: str) -> None:
        if name == endpoint_name:
            raise names.unknown(name)

    monkeypatch.setattr(names, "check", check)


def test_the_time_for_which_an_endpoint_is_unknown_counts_from_when_it_is(
    store: redis.Redis, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.hset(keys.LIMITS, SECOND, 1)
    accept.submit((SECOND, "x"), {})
    ends.succeed(submit(step("b", SECOND)))
    publish()
    note = keys.successor_note(f"{successors.SUBMIT_OF}b")
    store.hincrbyfloat(note, "at", -10 * load().unknown_endpoint_s)  # its queue was full for long
    for _ in range(2):
        with monkeypatch.context() as undeployed:
            undeploy(undeployed, SECOND)
            make_due(store)
            publish()
            assert not store.exists(keys.record("b"))
            store.hincrbyfloat(note, notes.UNKNOWN_SINCE, -load().unknown_endpoint_s / 2 - 1)
        make_due(store)
        publish()
        assert not store.hexists(note, notes.UNKNOWN_SINCE), "the endpoint exists again"
    assert not store.exists(keys.record("b"))
    assert store.zscore(keys.SUCCESSORS_DUE, f"{successors.SUBMIT_OF}b") is not None


def test_a_kept_job_expires_when_it_would_have_and_starts_when_it_would_have(
    store: redis.Redis, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as undeployed:
        undeploy(undeployed, SECOND)
        ends.succeed(submit(step("b", SECOND, expires=600, countdown=300)))
        [note] = notes.lease_due()
        Publisher()._follow(note)
        kept_at = time.time()
        Publisher()._follow(note)  # as another process does, if the first one was lost
        notes.settle(note.note_id)
    make_due(store)
    publish()
    job = query.get("b")
    assert job.expires_at is not None
    assert job.not_before is not None
    assert kept_at + 500 < job.expires_at <= kept_at + 600
    assert kept_at + 200 < job.not_before <= kept_at + 300


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
def test_a_successor_waits_for_an_endpoint_that_does_not_exist_as_long_as_other_jobs_do(
    store: redis.Redis, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    undeploy(monkeypatch, SECOND)
    ends.succeed(submit(step("b", SECOND), step("c", THIRD)))
    ends.succeed(submit(step("waits", SECOND, must_exist=False)))
    publish()
    assert query.get("waits").state is JobState.QUEUED
    note = keys.successor_note(f"{successors.SUBMIT_OF}b")
    assert not store.exists(keys.record("b"))
    store.hincrbyfloat(note, notes.UNKNOWN_SINCE, -load().unknown_endpoint_s)
    make_due(store)
    publish()
    publish()
    assert (query.get("b").error or {})["code"] == EndpointUnknown.code
    assert query.get("c").state is JobState.FAILED
    assert not store.exists(keys.SUCCESSORS_DUE, note)


def test_a_broker_that_is_away_holds_the_body_of_a_chord_up_and_does_not_fail_it(
    store: redis.Redis, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set("celery-taskset-meta-g.s", 1)
    chord = {"chord": step("body", THIRD), "group_id": "g", "group_index": 0}
    ends.succeed(accept.submit((FIRST, "a"), {}, task_id=new_id(), **chord).job_id)

    def away(*_args: Any, **_more: Any) -> None:
        raise QueueUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(accept, "submit", away)
        publish()
        make_due(store)
        publish()
    assert not store.exists(keys.record("body"))
    make_due(store)
    publish()
    assert call_of(store, "body") == ([THIRD], {"inputs": ["a+"]})
    assert not store.exists(keys.SUCCESSORS_DUE)


def test_the_body_of_a_chord_is_sent_after_the_death_of_the_process_that_had_it_to_send(
    store: redis.Redis, ends: Ends, bare_app: Celery
) -> None:
    header = group(bare_app.signature("predict", args=[FIRST, "a"], queue=queue_name(FIRST)))
    body = bare_app.signature("predict", kwargs={"endpoint_name": SECOND}, queue=queue_name(SECOND), task_id="body")
    chord(header, body, app=bare_app).apply_async()
    message = store.rpop(queue_name(FIRST))
    assert isinstance(message, bytes)
    job = intake.parse("", FIRST, message)
    ends.keep([job])
    ends.succeed(job.job_id)
    # As a process leaves it that dies then: it has taken the note, and Celery's right to send the body.
    notes.lease_due()
    claim = bare_app.backend.get_key_for_group(envelopes.decode(message).headers["group"], ".c")
    store.set(claim, "of one that is lost", ex=60)
    make_due(store)
    publish()
    assert messages(store, SECOND) == 0
    store.delete(claim)
    make_due(store)
    publish()
    assert call_of(store, "body") == ([SECOND], {"inputs": ["a+"]})
    assert not store.exists(keys.SUCCESSORS_DUE)


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
def test_a_task_that_may_not_be_sent_fails_and_says_why(store: redis.Redis, ends: Ends, bare_app: Celery) -> None:
    link = bare_app.signature("somebody.task", queue="queuecast.webhooks", task_id="b")
    ends.succeed(accept.submit((FIRST, "a"), {}, task_id=new_id(), link=link).job_id)
    publish()
    assert "QUEUECAST_SUCCESSOR_QUEUES" in str(bare_app.AsyncResult("b").result)
    assert not store.exists("queuecast.webhooks", keys.SUCCESSORS_DUE)


def test_a_task_that_fails_before_it_runs_ends_no_job_of_its_id(
    store: redis.Redis, ends: Ends, bare_app: Celery
) -> None:
    somebodys = accept.submit((SECOND, "a"), {}, owner="somebody").job_id
    refused = bare_app.signature("somebody.task", queue="queuecast.webhooks", task_id=somebodys)
    skipped = bare_app.signature("somebody.task", task_id=somebodys)
    ends.succeed(accept.submit((FIRST, "a"), {}, link=refused).job_id)
    ends.fail(accept.submit((FIRST, "a"), {}, chain=[skipped]).job_id)
    publish()
    assert query.get(somebodys).state is JobState.QUEUED


def test_the_results_of_tasks_that_were_sent_are_not_waited_for(store: redis.Redis, ends: Ends) -> None:
    before = store.info("commandstats").get("cmdstat_subscribe", {"calls": 0})["calls"]
    link = tasks.predict.app.signature("somebody.task", task_id="b")
    ends.succeed(accept.submit((FIRST, "a"), {}, link=link).job_id)
    publish()
    assert store.llen("celery") == 1
    assert store.info("commandstats").get("cmdstat_subscribe", {"calls": 0})["calls"] == before


def test_a_process_is_woken_by_what_it_has_ended_itself(store: redis.Redis, ends: Ends) -> None:
    woken = threading.Event()
    successors.when_due(woken.set)
    try:
        ends.succeed(accept.submit((FIRST, "a"), {}).job_id)
        assert not woken.is_set()
        ends.succeed(submit(step("b", SECOND)))
        assert woken.is_set()
    finally:
        successors._due.remove(woken.set)


def test_what_follows_a_job_that_an_earlier_release_has_ended_is_published(store: redis.Redis) -> None:
    job_id, unfinished = submit(step("b", SECOND)), submit(step("c", SECOND))
    outcome = json.dumps(OUTCOME).encode()
    store.set(keys.record(job_id), records.succeeded(Job(job_id, FIRST, 1.0), outcome, 2.0, 3.0))
    publish()
    assert messages(store, SECOND) == 0
    assert notes.backfill_some(0) == 0
    publish()
    assert store.exists(keys.record("b"), keys.record("c")) == 1
    assert store.hkeys(keys.SUCCESSORS) == [unfinished.encode()]


def test_what_follows_a_job_that_waits_in_a_worker_without_a_record_is_kept(
    store: redis.Redis, ends: Ends, bare_app: Celery
) -> None:
    waiting, gone = send_bare(bare_app, step("b", SECOND)), send_bare(bare_app, step("c", SECOND))
    ends.keep([waiting, gone])
    for _ in range(2):
        notes.backfill_some(0)
    assert store.hlen(keys.SUCCESSORS) == 2
    ends.succeed(waiting.job_id)
    publish()
    assert query.get("b").state is JobState.QUEUED
    store.zincrby(keys.SUCCESSORS_UNRECORDED, -load().unfinished_ttl_s, gone.job_id)
    notes.backfill_some(0)
    assert not store.exists(keys.SUCCESSORS, keys.SUCCESSORS_UNRECORDED), "of a job that never came nothing stays"


def test_nothing_is_kept_of_a_job_that_was_taken_back(store: redis.Redis) -> None:
    transitions.forget_queued(submit(step("b", SECOND)), FIRST)
    assert not store.exists(keys.SUCCESSORS)


def test_a_successor_belongs_to_the_owner_of_its_predecessor(store: redis.Redis, ends: Ends) -> None:
    job_id = submit(step("b", SECOND), step("c", THIRD), owner="somebody")
    ends.succeed(job_id)
    publish()
    assert query.get("b").owner == "somebody"
    ends.fail("b")
    publish()
    assert query.get("c").owner == "somebody"
    assert store.zscore(keys.jobs_of("somebody"), "c") is not None


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def use(key: str) -> None:
        monkeypatch.setenv("QUEUECAST_MESSAGE_KEY", key)
        load.cache_clear()

    yield use
    monkeypatch.undo()
    load.cache_clear()


def test_a_worker_signs_nothing_that_it_was_told_without_the_key(
    store: redis.Redis, ends: Ends, signed: Callable[[str], None]
) -> None:
    forged, moved = submit(step("b", SECOND)), accept.submit((FIRST, "a"), {}).job_id
    signed("k" * 32)
    honest = submit(step("c", SECOND))
    plan = store.hget(keys.SUCCESSORS, honest)
    assert plan is not None
    store.hset(keys.SUCCESSORS, moved, plan)
    for each in (forged, moved):
        ends.succeed(each)
    publish()
    assert messages(store, SECOND) == 0
    assert not store.exists(keys.SUCCESSORS_DUE)
    signed(f"{'n' * 32},{'k' * 32}")
    ends.succeed(honest)
    publish()
    assert messages(store, SECOND) == 1


def test_a_record_names_the_children_of_a_job_that_has_succeeded(store: redis.Redis, ends: Ends) -> None:
    result = tasks.predict.apply_async((FIRST, "a"), link=tasks.predict.s(endpoint_name=SECOND))
    tricky = OUTCOME | {"prediction": {"x": '","children":[],"date_done":', "children": [], "date_done": 1}}
    ends.succeed(result.id, tricky)
    publish()
    [child] = result.children or [result]
    assert child.id != result.id
    assert query.get(child.id).endpoint_name == SECOND
    assert result.get()["prediction"] == tricky["prediction"]


LONG = "x" * 400_000


def test_successors_that_are_too_long_are_refused_when_the_job_is_submitted(store: redis.Redis) -> None:
    with pytest.raises(SuccessorsTooLong, match="262,144") as refused:
        submit(tasks.predict.si(SECOND, LONG))
    assert isinstance(refused.value, JobArgumentsWrong)
    assert (refused.value.code, status_of(refused.value)) == ("successors_too_long", 422)
    assert extras_of(refused.value) == {}
    assert store.keys() == []


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
@pytest.mark.parametrize("errbacks", [1, 20])
def test_what_follows_a_bare_job_and_is_too_long_fails_with_it(
    store: redis.Redis, ends: Ends, bare_app: Celery, errbacks: int
) -> None:
    ours = bare_app.signature("predict", args=[LONG], kwargs={"endpoint_name": SECOND}, task_id="b", queue="predict.x")
    body_failed = bare_app.signature("shop.failed", queue="celery", args=["of the body"])
    body = bare_app.signature("shop.total", args=[LONG], task_id="body", link_error=[body_failed])
    foreign = bare_app.signature("shop.price", args=[LONG], task_id="c", chord=body, group_id="g", link=body_failed)
    failed = [bare_app.signature("shop.failed", args=[LONG]) for _ in range(errbacks)]
    store.set("celery-taskset-meta-g.s", 1)
    message = {"queue": queue_name(FIRST), "chain": [foreign, ours], "link": [ours], "link_error": failed}
    bare_app.send_task("predict", args=[FIRST, "a"], **message)
    stored = store.rpop(queue_name(FIRST))
    assert isinstance(stored, bytes)
    job = intake.parse("", FIRST, stored)
    assert isinstance(job.fault, SuccessorsTooLong)
    ends.keep([job])
    ends.fail(job.job_id, job.fault)
    publish()
    assert query.get("b").endpoint_name == SECOND
    for each in ("b", "c", "body"):
        assert bare_app.AsyncResult(each).state == "FAILURE", each
    # Twenty errbacks are too long themselves.
    assert store.llen("celery") == (2 if errbacks == 1 else 1)
    assert not store.exists(keys.SUCCESSORS, keys.SUCCESSORS_DUE)


def test_a_successor_whose_own_successors_are_too_long_fails_and_so_do_they(
    store: redis.Redis, bare_app: Celery
) -> None:
    too_long = step("after", THIRD).clone(args=(LONG,))
    with celery_app.following("a", None):
        submission.submit("b", [SECOND, "a"], {}, None, {"chain": [too_long]})
    publish()
    assert (query.get("b").error or {})["code"] == SuccessorsTooLong.code
    assert query.get("after").state is JobState.FAILED
    with pytest.raises(SuccessorsTooLong):
        tasks.predict.AsyncResult("after").get(timeout=5)


def test_a_successor_with_wrong_arguments_fails_and_so_does_what_follows_it(store: redis.Redis, ends: Ends) -> None:
    # Celery's backend keeps the outcomes of ids that it has seen in this process.
    job_id = submit(step("called-wrong", SECOND, callback_url="gopher://nowhere"), step("after-called-wrong", THIRD))
    ends.succeed(job_id)
    publish()
    publish()
    assert (query.get("called-wrong").error or {})["code"] == "input_invalid"
    for each in ("called-wrong", "after-called-wrong"):
        with pytest.raises(InputRejected, match="https"):
            tasks.predict.AsyncResult(each).get(timeout=5)
