"""Jobs that were given up: kept with their inputs, read, replayed, discarded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import redis

from tests.workers.conftest import WithRedis, message_of, submit
from workers import keys
from workers.errors import DeadLetterNotFound, JobArgumentsWrong, QueueFull, QueueUnavailable, WorkerError
from workers.jobs import accept, dead_letters, query
from workers.jobs.accept import Limits
from workers.jobs.dead_letters import DeadLetter
from workers.jobs.job import Failure
from workers.jobs.query import JobState, JobView
from workers.queues.naming import queue_name

FAILURES: tuple[Failure, ...] = (
    {"attempt": 1, "worker": "w@1", "at": 1.0, "reason": "killed by signal 9"},
    {"attempt": 2, "worker": "w@2", "at": 2.0, "reason": "killed by signal 9"},
)


def give_up(store: redis.Redis, with_redis: WithRedis, *args: Any, given_up_at: float = 0, **kwargs: Any) -> str:
    """Submit a job and give it up, as an engine would; return its id."""
    accepted = accept.submit(args if args or kwargs else ("adding", [1, 2]), kwargs)
    message = store.get(keys.message(accepted.job_id))
    assert isinstance(message, bytes)
    letter = DeadLetter(
        accepted.job_id, accepted.endpoint_name, message, FAILURES, accepted.submitted_at, given_up_at or time.time()
    )
    with_redis(lambda client: dead_letters.keep(client, [letter]))
    store.delete(queue_name(accepted.endpoint_name))
    return accepted.job_id


def test_a_dead_letter_is_kept_in_a_redis_that_is_full(
    store: redis.Redis, with_redis: WithRedis, fill: Callable[[], None]
) -> None:
    letters = [DeadLetter(name, "adding", b"what was sent", FAILURES, 1.0, 2.0) for name in ("a", "b")]
    fill()
    with pytest.raises(redis.OutOfMemoryError):
        store.set("something", "else")
    with_redis(lambda client: dead_letters.keep(client, letters))
    assert [dead_letters.get(each.job_id).message for each in letters] == [b"what was sent"] * 2
    assert dead_letters.count() == 2
    for each in letters:
        dead_letters.discard(each.job_id)
    assert dead_letters.count() == 0


@pytest.mark.parametrize(
    ("args", "kwargs", "rows"),
    [
        (("adding", [1, "é"]), {}, {"input": [1, "é"]}),
        (("adding",), {"inputs": [1, None]}, {"inputs": [1, None]}),
        ((), {"endpoint_name": "adding", "input": None}, {"input": None}),
    ],
)
def test_a_letter_is_kept_with_its_input_and_every_reason(
    store: redis.Redis, with_redis: WithRedis, args: Any, kwargs: Any, rows: dict[str, Any]
) -> None:
    job_id = give_up(store, with_redis, *args, **kwargs)
    letter = dead_letters.get(job_id)
    assert letter.rows() == rows
    document = letter.document()
    assert document.items() >= {"job_id": job_id, "endpoint_name": "adding", **rows}.items()
    assert [each["reason"] for each in document["failures"]] == ["killed by signal 9"] * 2
    assert document["failures"][1]["at"] == "1970-01-01T00:00:02.000+00:00"
    assert rows.keys().isdisjoint(letter.document(with_input=False))
    assert (document["owner"], document["priority"]) == (None, "normal")
    assert json.dumps(document)
    assert store.ttl(keys.dead_letter(job_id)) == -1


def test_a_letter_that_is_kept_again_is_one_letter(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = give_up(store, with_redis, given_up_at=5.0)
    letter = dead_letters.get(job_id)
    with_redis(lambda client: dead_letters.keep(client, [letter, letter]))
    assert [each.job_id for each in dead_letters.newest()] == [job_id]


def test_letters_are_listed_newest_first_over_many_pages(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_PAGE", 3)
    ids = [give_up(store, with_redis, ("one", "two")[number % 2], 1, given_up_at=100 + number) for number in range(11)]
    assert [each.job_id for each in dead_letters.newest(limit=100)] == ids[::-1]
    assert [each.job_id for each in dead_letters.newest(limit=4)] == ids[:-5:-1]
    assert [each.job_id for each in dead_letters.newest("one", limit=4)] == ids[::2][:-5:-1]
    assert dead_letters.newest("nobody") == []
    store.delete(keys.dead_letter(ids[5]))  # half of a letter is none
    assert [each.job_id for each in dead_letters.newest(limit=100)] == [*ids[:5:-1], *ids[4::-1]]


@pytest.mark.parametrize("target", [None, "adding", "other"])
def test_a_replay_is_the_same_call_as_a_new_job(store: redis.Redis, with_redis: WithRedis, target: str | None) -> None:
    job_id = give_up(store, with_redis, "adding", [1, 2])
    job = dead_letters.replay(job_id, target)
    name = target or "adding"
    assert (job.state, job.endpoint_name, job.job_id != job_id) == (JobState.QUEUED, name, True)
    assert query.get(job.job_id) == job
    assert message_of(store, job.job_id).arguments()[0] == [name, [1, 2]]
    assert store.llen(queue_name(name)) == 1
    with pytest.raises(DeadLetterNotFound):
        dead_letters.get(job_id)
    with pytest.raises(DeadLetterNotFound):
        dead_letters.replay(job_id)
    assert dead_letters.newest() == []


def test_replayed_many_times_at_once_it_is_one_job(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = give_up(store, with_redis)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: attempt(job_id, None), range(16)))
    replayed = {each.job_id for each in answers if isinstance(each, JobView)}
    assert len(replayed) == 1
    assert all(isinstance(each, (JobView, DeadLetterNotFound)) for each in answers)
    assert store.llen(queue_name("adding")) == 1


def test_replayed_to_two_endpoints_at_once_it_is_one_job(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = give_up(store, with_redis)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: attempt(job_id, ("one", "two")[number % 2]), range(16)))
    assert len({each.job_id for each in answers if isinstance(each, JobView)}) == 1
    assert all(isinstance(each, (JobView, DeadLetterNotFound)) for each in answers)
    assert store.llen(queue_name("one")) + store.llen(queue_name("two")) == 1


def attempt(job_id: str, target: str | None) -> JobView | WorkerError:
    try:
        return dead_letters.replay(job_id, target)
    except WorkerError as error:
        return error


def test_a_replay_that_was_cut_off_before_the_letter_was_discarded_is_not_done_twice(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = give_up(store, with_redis)
    with monkeypatch.context() as cut:
        cut.setattr(dead_letters, "discard", cut_off)
        with pytest.raises(QueueUnavailable):
            dead_letters.replay(job_id)
    replayed = dead_letters.replay(job_id)
    assert store.llen(queue_name("adding")) == 1
    assert query.get(replayed.job_id).state is JobState.QUEUED
    assert dead_letters.newest() == []


def cut_off(_job_id: str) -> None:
    raise QueueUnavailable("just now")


def test_a_full_queue_keeps_the_letter(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = give_up(store, with_redis)
    with pytest.raises(QueueFull):
        dead_letters.replay(job_id, "other", Limits(max_queue_length=0))
    assert dead_letters.get(job_id).rows() == {"input": [1, 2]}
    assert dead_letters.replay(job_id, "other").endpoint_name == "other"


@pytest.mark.parametrize("message", [b"", b"nonsense", b'{"body": "", "headers": {}, "properties": {}}'])
def test_a_message_that_can_not_be_read_is_shown_and_not_replayed(
    store: redis.Redis, with_redis: WithRedis, message: bytes
) -> None:
    letter = DeadLetter("odd", "adding", message, (), None, 5.0)
    with_redis(lambda client: dead_letters.keep(client, [letter]))
    found = dead_letters.get("odd")
    assert (found.message, found.rows(), found.document()["submitted_at"]) == (message, {}, None)
    with pytest.raises(JobArgumentsWrong, match="can't be read"):
        dead_letters.replay("odd")
    assert dead_letters.newest() == [found]


def test_a_discarded_letter_is_gone(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id, other = give_up(store, with_redis), give_up(store, with_redis)
    dead_letters.discard(job_id)
    with pytest.raises(DeadLetterNotFound, match=job_id):
        dead_letters.discard(job_id)
    assert [each.job_id for each in dead_letters.newest()] == [other]
    assert submit().job_id != job_id


def test_a_letter_that_a_newer_release_wrote_is_read(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = give_up(store, with_redis)
    key = keys.dead_letter(job_id)
    stored = store.get(key)
    assert isinstance(stored, bytes)
    store.set(key, json.dumps({**json.loads(stored), "future": 1}))
    assert dead_letters.get(job_id).rows() == {"input": [1, 2]}


def test_a_job_that_was_given_up_once_more_after_its_replay_can_be_replayed_again(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    """Its message was sent again, under the same id."""
    job_id = give_up(store, with_redis, given_up_at=5.0)
    letter = dead_letters.get(job_id)
    first = dead_letters.replay(job_id)
    with_redis(lambda client: dead_letters.keep(client, [replace(letter, given_up_at=6.0)]))
    assert dead_letters.replay(job_id).job_id != first.job_id
    assert store.llen(queue_name("adding")) == 2
