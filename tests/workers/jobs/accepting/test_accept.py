"""Accepting jobs: all of a job is stored in one step, or nothing of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from tests.workers.conftest import message_of, submit
from workers import keys, tasks
from workers.errors import JobArgumentsWrong, JobUnconfirmed, QueueFull
from workers.jobs import accept, query, records
from workers.jobs.accept import Idempotency, Limits
from workers.jobs.query import JobState
from workers.platform.lua import Lua, script
from workers.queues.naming import queue_name

QUEUE = queue_name("adding")


def test_a_job_is_a_record_a_copy_of_its_message_and_a_message_in_the_queue(store: redis.Redis) -> None:
    before = time.time()
    accepted = submit(row=[1, 2])
    assert before <= accepted.submitted_at <= time.time()
    assert (accepted.endpoint_name, accepted.repeated) == ("adding", False)
    assert store.lrange(QUEUE, 0, -1) == [store.get(keys.message(accepted.job_id))]
    assert store.zrange(keys.unfinished("adding"), 0, -1) == [accepted.job_id.encode()]
    assert store.smembers(keys.ENDPOINTS) == {b"adding"}
    assert store.ttl(keys.record(accepted.job_id)) > 24 * 3600
    job = query.get(accepted.job_id)
    assert (job.state, job.endpoint_name, job.submitted_at) == (JobState.QUEUED, "adding", accepted.submitted_at)
    assert message_of(store, accepted.job_id).arguments() == (["adding", [1, 2]], {})


def test_a_job_whose_answer_was_lost_is_named_and_a_repeat_under_its_key_is_that_job(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Idempotency("key", b"request")

    def deaf(client: redis.Redis, source: Lua) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            script(client, source)(*given)
            raise redis.TimeoutError("Timeout reading from socket")

        return run

    with monkeypatch.context() as losing:
        losing.setattr(accept, "script", deaf)
        with pytest.raises(JobUnconfirmed) as caught:
            tasks.predict.apply_async(("adding", 1), idempotency=once)
    assert query.get(caught.value.job_id).state is JobState.QUEUED
    assert submit(idempotency=once).job_id == caught.value.job_id
    assert submit(task_id=caught.value.job_id).repeated
    assert store.llen(QUEUE) == 1


def test_nobody_sees_a_part_of_a_job(store: redis.Redis) -> None:
    # Redis itself says what ran: one script, and no command beside it.
    submit()  # the script is known from now on
    with store.monitor() as monitor:  # type: ignore[no-untyped-call]
        submit()
        store.ping()
        seen: list[dict[str, Any]] = []
        while not seen or not seen[-1]["command"].startswith("PING"):
            seen.append(monitor.next_command())
    sent = [each["command"].split()[0] for each in seen if each["client_type"] != "lua"]
    assert [name for name in sent if name not in ("CLIENT", "HELLO")] == ["EVALSHA", "PING"]


def test_a_task_id_used_twice_is_one_job(store: redis.Redis) -> None:
    first = submit(row="first", task_id="mine")
    again = submit(row="second", task_id="mine")
    assert (first.job_id, again.job_id, again.repeated) == ("mine", "mine", True)
    assert store.llen(QUEUE) == 1
    assert message_of(store, "mine").arguments()[0] == ["adding", "first"]


def test_of_many_submits_at_once_under_one_id_one_is_accepted(store: redis.Redis) -> None:
    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(lambda number: submit(row=number, task_id="mine"), range(24)))
    assert [each.repeated for each in accepted].count(False) == 1
    assert store.llen(QUEUE) == 1


@pytest.mark.parametrize("task_id", ['quo"ted', "back\\slash", "späte", "new\nline", "with space", "\ud800", "x" * 300])
def test_a_task_id_that_can_not_be_a_tag_is_refused_with_nothing_stored(store: redis.Redis, task_id: str) -> None:
    with pytest.raises(JobArgumentsWrong, match="task_id"):
        submit(task_id=task_id)
    assert store.keys() == []


def test_a_full_queue_refuses_by_argument(store: redis.Redis) -> None:
    limits = Limits(max_queue_length=2)
    submit(limits=limits)
    submit(limits=limits)
    stored = set(store.keys())
    with pytest.raises(QueueFull) as caught:
        submit(limits=limits)
    assert (caught.value.endpoint_name, caught.value.unfinished) == ("adding", 2)
    assert set(store.keys()) == stored
    submit("other", limits=limits)


def test_a_full_queue_refuses_submitters_that_know_no_limit_by_what_workers_told(store: redis.Redis) -> None:
    store.hset(keys.LIMITS, "adding", 1)
    tasks.predict.delay("adding", 1)
    with pytest.raises(QueueFull):
        tasks.predict.delay("adding", 2)
    # What the caller says counts more: the API has read the deployment just now.
    submit(limits=Limits(max_queue_length=5))


def test_a_job_that_has_ended_makes_room(store: redis.Redis) -> None:
    limits = Limits(max_queue_length=1)
    query.cancel(submit(limits=limits).job_id)
    assert not submit(limits=limits).repeated


@pytest.mark.parametrize(
    "row", [object(), {1, 2, 3}.__iter__(), 1j, {(1, 2): 3}, [10**5000]], ids=lambda row: type(row).__name__
)
def test_an_input_that_is_no_json_is_refused_with_nothing_stored(store: redis.Redis, row: Any) -> None:
    with pytest.raises(JobArgumentsWrong, match="JSON"):
        submit(row=row)
    assert store.keys() == []


@pytest.mark.parametrize("row", [math.nan, [math.inf]])
def test_numbers_that_json_can_not_say_arrive_as_they_are(store: redis.Redis, row: Any) -> None:
    # Python's JSON says NaN; the signature of the model decides whether it is an input.
    assert repr(message_of(store, submit(row=row).job_id).arguments()[0][1]) == repr(row)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        (("adding",), {}),
        (("adding", 1, 2), {}),
        (("adding", 1), {"inputs": [1]}),
        (("adding", 1), {"input": 1}),
        (("adding",), {"inputs": []}),
        (("adding",), {"inputs": "text"}),
        (("",), {"input": 1}),
        ((5, 1), {}),
        (("adding", 1), {"version": "2"}),
    ],
)
def test_other_arguments_are_refused_with_nothing_stored(
    store: redis.Redis, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(JobArgumentsWrong, match="predict takes"):
        accept.submit(args, kwargs)
    assert store.keys() == []


def test_arguments_by_name_are_the_same_job(store: redis.Redis) -> None:
    accepted = accept.submit((), {"endpoint_name": "adding", "inputs": (1, None)})
    assert message_of(store, accepted.job_id).arguments() == ([], {"endpoint_name": "adding", "inputs": [1, None]})


def test_only_the_newest_jobs_of_an_endpoint_are_listed(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "load", lambda: submission_settings(recent_jobs=3))
    ids = [submit(row=number).job_id for number in range(5)]
    assert [job.job_id for job in query.recent("adding")] == ids[:1:-1]
    assert store.zcard(keys.unfinished("adding")) == 5


def submission_settings(**named: Any) -> Any:
    from workers.settings import WorkerSettings, load

    return WorkerSettings(redis_url=load().redis_url, **named)


def test_async_result_of_a_queued_job_is_not_ready(store: redis.Redis) -> None:
    result = tasks.predict.delay("adding", 1)
    assert (result.status, result.ready()) == (records.QUEUED, False)
