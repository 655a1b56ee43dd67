"""Ends written by a process of an earlier release get their webhooks too; callbacks of forgotten jobs are dropped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from tests.support.waiting import eventually
from tests.workers.conftest import submit
from workers import keys
from workers.background.duties import DutyThread
from workers.jobs import records
from workers.jobs.job import Job
from workers.webhooks import backfill
from workers.webhooks import store as deliveries
from workers.webhooks.dispatcher import Dispatcher

NAME = "adding"
URL = "https://hooks.example.com/hook"


def submitted(count: int = 1) -> list[str]:
    return [submit(callback_url=URL).job_id for _ in range(count)]


def end_as_before(store: redis.Redis, job_id: str) -> None:
    """End a job like a worker of a release without webhooks."""
    now = time.time()
    outcome = b'{"prediction":{"endpoint_name":"x","submitted_at":1},"endpoint_name":"adding"}'
    store.set(keys.record(job_id), records.succeeded(Job(job_id, NAME, now, owner="me", attempts=1), outcome, now, now))
    store.zrem(keys.unfinished(NAME), job_id)


def forget_record(store: redis.Redis, job_id: str) -> None:
    store.delete(keys.record(job_id), keys.message(job_id))


def note_all() -> None:
    cursor = backfill.backfill_some(0)
    while cursor:
        cursor = backfill.backfill_some(cursor)


def test_the_end_of_a_job_whose_callback_still_stands_is_noted_once(store: redis.Redis) -> None:
    ended, queued = submitted(2)
    end_as_before(store, ended)
    note_all()
    found = deliveries.get(ended)
    assert (found.endpoint_name, found.url, found.owner) == (NAME, URL, "me")
    note_all()
    assert deliveries.newest() == [found]
    assert store.hkeys(keys.CALLBACKS) == [queued.encode()]


def test_the_callback_of_a_job_that_is_gone_is_dropped_unless_its_message_may_still_wait(store: redis.Redis) -> None:
    gone, waiting = submitted(2)
    for job_id in (gone, waiting):
        forget_record(store, job_id)
    store.zrem(keys.unfinished(NAME), gone)
    note_all()
    assert store.hkeys(keys.CALLBACKS) == [waiting.encode()]
    assert deliveries.newest() == []


def test_all_callbacks_are_looked_through_a_few_at_a_time(store: redis.Redis) -> None:
    ids = submitted(3)
    store.hset(keys.CALLBACKS, mapping={f"gone-{number}": "h https://h/" for number in range(2_000)})
    for job_id in ids:
        end_as_before(store, job_id)
    cursor = backfill.backfill_some(0)
    assert cursor
    assert store.hlen(keys.CALLBACKS) > 1_000
    while cursor:
        cursor = backfill.backfill_some(cursor)
    assert not store.exists(keys.CALLBACKS)
    assert {each.job_id for each in deliveries.newest()} == set(ids)


@contextmanager
def dispatching(sent: list[str]) -> Iterator[None]:
    dispatcher = DutyThread(Dispatcher(sent.append))
    dispatcher.start()
    try:
        yield
    finally:
        dispatcher.stop()


def test_the_dispatcher_sends_them(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.webhooks.dispatcher._CHECK_INTERVAL_S", 0.05)
    sent: list[str] = []
    with dispatching(sent):
        [job_id] = submitted()
        end_as_before(store, job_id)
        eventually(lambda: job_id in sent)
