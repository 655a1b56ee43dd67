"""Signatures of `predict`: what follows a task as its input, groups of single jobs, and where tasks may be sent."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery, group, states
from celery.app.task import Context

from tests.workers.conftest import WithRedis, message_of, submit
from workers import keys, tasks
from workers.app import app
from workers.engine.intake import messages
from workers.errors import JobArgumentsWrong, WorkerError
from workers.jobs import query, records, transitions
from workers.jobs.endings import canvas, successors
from workers.jobs.job import Job
from workers.jobs.transitions import Finish
from workers.measures import counters
from workers.queues import arguments, envelopes
from workers.queues.naming import queue_name
from workers.settings import load
from workers.successors import celery_app, submission
from workers.successors.celery_app import may_be_sent
from workers.successors.publisher import Publisher

NAME = "adding"


def outcome(**said: Any) -> dict[str, Any]:
    facts = {"endpoint_name": NAME, "model_name": NAME, "version": "1", "worker": "w", "batch_size": 1, "timing": {}}
    return {**said, **facts, "attempts": 1}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def use(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        load.cache_clear()

    yield use
    monkeypatch.undo()
    load.cache_clear()


@pytest.mark.parametrize(
    ("result", "rows", "many"),
    [
        (outcome(prediction=[1, 2]), [[1, 2]], False),
        (outcome(predictions=[1, 2]), [1, 2], True),
        ([outcome(prediction=1), outcome(predictions=[2, 3])], [1, 2, 3], True),
        ([0.5, 0.8], [[0.5, 0.8]], False),
        ([], [[]], False),
        ([outcome(prediction=1), 2], [[outcome(prediction=1), 2]], False),
        ("text", ["text"], False),
        (None, [None], False),
        ({"prediction": 1}, [{"prediction": 1}], False),
    ],
)
def test_the_result_of_the_task_before_is_the_input(result: Any, rows: list[Any], many: bool) -> None:
    call = arguments.parse([result], {"endpoint_name": NAME})
    assert (call.endpoint_name, call.rows, call.many) == (NAME, rows, many)
    plain = arguments.parse(*arguments.in_plain_form([result], {"endpoint_name": NAME}))
    assert plain == call


def test_an_endpoint_that_is_not_named_by_keyword_is_explained() -> None:
    with pytest.raises(JobArgumentsWrong, match=r"predict\.s\(endpoint_name=…\)"):
        arguments.parse([outcome(prediction=1), NAME], {})


def test_map_starmap_and_chunks_are_one_job_each() -> None:
    mapped = tasks.predict.map([1, [2]], endpoint_name=NAME)
    starred = tasks.predict.starmap([(NAME, 1), (NAME, [2])])
    assert isinstance(mapped, group)
    for each in (mapped, starred, tasks.predict.chunks([(NAME, 1), (NAME, [2])], 2)):
        calls = [arguments.parse(task.args, task.kwargs) for task in each.tasks]
        assert [call.rows for call in calls] == [[1], [[2]]]
    with pytest.raises(ValueError, match="at least 1"):
        tasks.predict.chunks([(NAME, 1)], 0)


def test_predictions_in_this_process_are_refused(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    for call in (tasks.predict, tasks.predict.apply, tasks.predict.s(NAME, 1)):
        with pytest.raises(WorkerError, match=r"predict\.delay"):
            call(NAME, 1)
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    with pytest.raises(WorkerError, match="task_always_eager"):
        tasks.predict.delay(NAME, 1)
    assert store.keys() == []


def test_a_signature_names_its_queue_for_workers_of_other_programs() -> None:
    assert tasks.predict.s(NAME, 1).options["queue"] == queue_name(NAME)
    assert tasks.predict.si(endpoint_name=NAME, inputs=[1]).options["queue"] == queue_name(NAME)


@pytest.mark.parametrize(
    ("options", "may"),
    [
        ({}, True),
        ({"queue": "celery"}, True),
        ({"queue": "shop.prices"}, True),
        ({"queue": "other"}, False),
        ({"queue": queue_name(NAME)}, False),
        ({"exchange": "", "routing_key": "queuecast.webhooks"}, False),
        ({"queue": "queuecast"}, False),
        ({"queue": {"name": "celery"}}, False),
        ({"queue": "queuecast.webhooks\x06\x163"}, False),
        ({"queue": "shop.prices\x06\x163"}, False),
        ({"queue": "celery-task-meta-1"}, False),
        ({"exchange": "celery.pidbox", "exchange_type": "fanout"}, False),
        ({"exchange": "shop.prices"}, True),
        ({"queue": "queuecasts"}, True),
    ],
)
def test_tasks_of_others_are_sent_to_the_queues_that_are_allowed(
    settings: Callable[..., None], options: dict[str, Any], may: bool
) -> None:
    settings(QUEUECAST_SUCCESSOR_QUEUES="celery*, shop.*, queue*, predict.*")
    assert may_be_sent("shop.price", options) is may
    assert not may_be_sent("queuecast.deliver", options)


def read(app: Celery, store: redis.Redis, **options: Any) -> messages.QueuedJob:
    """Return a job of a bare app as a worker reads it."""
    app.send_task("predict", args=[NAME, 1], queue=queue_name(NAME), **options)
    message = store.lindex(queue_name(NAME), 0)
    assert isinstance(message, bytes)
    return messages.parse("", NAME, message)


def test_a_message_says_what_follows_the_job(store: redis.Redis, bare_app: Celery) -> None:
    link = bare_app.signature("predict", kwargs={"endpoint_name": NAME}, queue=queue_name(NAME))
    job = read(bare_app, store, link=link, root_id="root")
    plan = successors.decode(job.job_id, job.successors)
    [callback] = plan.callbacks
    assert callback["options"]["task_id"]
    assert (plan.root_id, plan.owner) == ("root", None)
    assert not read(bare_app, store).successors
    assert read(bare_app, store, link=link).fault is None


def test_what_messages_say_is_refused_where_it_is_not_trusted(
    store: redis.Redis, bare_app: Celery, settings: Callable[..., None]
) -> None:
    settings(QUEUECAST_CANVAS="accepted")
    job = read(bare_app, store, link=bare_app.signature("somebody.task"))
    assert not job.successors
    assert "QUEUECAST_CANVAS=accepted" in str(job.fault)
    assert read(bare_app, store).fault is None


def test_a_body_that_names_nothing_is_not_parsed_and_others_are_read_without_their_rows() -> None:
    nothing = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    assert envelopes.embedded_in(json.dumps([[NAME, 1], {}, nothing])) is None
    assert envelopes.embedded_in(json.dumps([[NAME, 1], {}, nothing]).encode()) is None
    assert envelopes.embedded_in(b'[[NaN],{},{"chain":[1]}]') == {"chain": [1]}
    assert not canvas.has_successors(envelopes.embedded_in(b"no json"))


def test_the_message_of_an_accepted_job_repeats_nothing_of_what_follows_it(store: redis.Redis) -> None:
    job_id = submit(link=tasks.predict.s(endpoint_name=NAME), group_id="g").job_id
    message = message_of(store, job_id)
    assert message.headers["group"] == "g"
    assert json.loads(base64.b64decode(message.body))[2]["callbacks"] is None
    assert store.hexists(keys.SUCCESSORS, job_id)


@pytest.mark.parametrize(
    ("options", "priority"), [({"priority": "low"}, "low"), ({"queue": queue_name(NAME) + ":high"}, "high")]
)
def test_what_follows_has_the_options_of_its_signature(
    store: redis.Redis, with_redis: WithRedis, options: dict[str, Any], priority: str
) -> None:
    follows = tasks.predict.signature((), kwargs={"endpoint_name": NAME}, task_id="b", expires=60, **options)
    job_id = submit(link=follows).job_id
    record = records.succeeded(Job(job_id, NAME, 1.0), json.dumps(outcome(prediction=2)).encode(), 2.0, 3.0)
    finish = Finish(job_id, record, counters.Kind.SUCCEEDED, 1.0)
    with_redis(lambda client: transitions.finish(client, NAME, [finish], 3.0, None))
    Publisher()._publish_due(threading.Event())
    job = query.get("b")
    assert (job.priority.value, job.expires_at is not None) == (priority, True)
    headers = message_of(store, "b").headers
    assert (headers["parent_id"], headers["root_id"]) == (job_id, job_id)


def test_a_task_that_never_ran_is_named_with_its_endpoint(store: redis.Redis) -> None:
    with celery_app.following("a", None):
        backend = celery_app.make().backend
        request = Context({"id": "b", "task": "predict", "args": [], "kwargs": {"endpoint_name": NAME}})
        backend.store_result("b", ValueError("no"), states.FAILURE, request=request)
        backend.store_result("a", ValueError("no"), states.FAILURE)
    assert query.get("b").endpoint_name == NAME
    assert not store.exists(keys.record("a"))
    assert submission.endpoint_of(5, None) == ""
