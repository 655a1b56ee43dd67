"""The buffer of Celery events."""

from __future__ import annotations

import logging
import time
from typing import Any

import celery
import pytest
from celery.events.dispatcher import EventDispatcher
from celery.worker import state

from registry.serving.settings import EventsSetting
from tests.workers.stand_ins import RecordingDispatcher, queued_job
from workers.app import app
from workers.engine.intake.messages import QueuedJob
from workers.engine.telemetry import celery_events as events_module
from workers.engine.telemetry.celery_events import CeleryEventBuffer
from workers.errors import HostDied


def sent(event_buffer: CeleryEventBuffer) -> list[tuple[str, dict[str, Any]]]:
    dispatcher = RecordingDispatcher()
    event_buffer.flush(dispatcher)
    return dispatcher.sent


def test_a_jobs_life_is_told_in_order() -> None:
    event_buffer, job = CeleryEventBuffer(), queued_job("a")
    before = time.time()
    event_buffer.received([job, queued_job("b")])
    event_buffer.started([job])
    event_buffer.succeeded(job, b'{"prediction":3}', 0.25)
    found = sent(event_buffer)
    assert [(type_, fields["uuid"]) for type_, fields in found] == [
        ("task-received", "a"), ("task-received", "b"), ("task-started", "a"), ("task-succeeded", "a"),
    ]  # fmt: skip
    assert found[3][1].items() >= {"runtime": 0.25, "result": '{"prediction":3}'}.items()
    assert all(before <= fields["timestamp"] <= time.time() for _, fields in found)
    assert sent(event_buffer) == []


def ends_of(event_buffer: CeleryEventBuffer, number: int, events: EventsSetting) -> list[QueuedJob]:
    """Have so many jobs received and succeed."""
    jobs = [queued_job(f"job-{each}") for each in range(number)]
    event_buffer.received(jobs, events)
    event_buffer.started(jobs)
    for job in jobs:
        event_buffer.succeeded(job, b"{}", 0.25)
    return jobs


def test_where_events_are_off_nothing_is_told() -> None:
    event_buffer = CeleryEventBuffer()
    [job] = ends_of(event_buffer, 1, "off")
    event_buffer.failed(job, HostDied("it died"))
    event_buffer.revoked(job)
    assert sent(event_buffer) == []


def test_a_sample_tells_the_whole_life_of_one_job_in_a_hundred() -> None:
    event_buffer = CeleryEventBuffer()
    ends_of(event_buffer, 2_000, "sampled")
    types_of: dict[str, list[str]] = {}
    for type_, fields in sent(event_buffer):
        types_of.setdefault(fields["uuid"], []).append(type_)
    assert 5 <= len(types_of) <= 60
    assert all(types == ["task-received", "task-started", "task-succeeded"] for types in types_of.values())
    again = CeleryEventBuffer()
    ends_of(again, 2_000, "sampled")
    assert {fields["uuid"] for _, fields in sent(again)} == set(types_of)  # on any worker


def test_what_goes_wrong_is_told_of_every_job_beside_a_sample() -> None:
    event_buffer = CeleryEventBuffer()
    jobs = [queued_job(f"job-{each}") for each in range(200)]
    event_buffer.received(jobs, "sampled")
    for job in jobs:
        event_buffer.failed(job, HostDied("it died"))
    told = [(type_, fields["uuid"]) for type_, fields in sent(event_buffer)]
    for job in jobs:
        assert told.index(("task-received", job.job_id)) < told.index(("task-failed", job.job_id))
        assert told.count(("task-received", job.job_id)) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {"terminated": False, "expired": False}),
        ({"expired": True}, {"terminated": False, "expired": True}),
        ({"terminated": True}, {"terminated": True, "expired": False}),
    ],
)
def test_what_was_taken_back_is_told_with_the_reason(arguments: dict[str, bool], expected: dict[str, bool]) -> None:
    event_buffer = CeleryEventBuffer()
    event_buffer.revoked(queued_job(), **arguments)
    [(type_, fields)] = sent(event_buffer)
    assert type_ == "task-revoked"
    assert fields.items() >= expected.items()


def test_a_failure_is_told_as_flower_shows_it() -> None:
    event_buffer = CeleryEventBuffer()
    event_buffer.failed(queued_job(), HostDied("it's dead"))
    [(type_, fields)] = sent(event_buffer)
    assert (type_, fields["exception"], fields["traceback"]) == ("task-failed", 'HostDied("it\'s dead")', "it's dead")


def test_it_rings_once_until_it_is_emptied() -> None:
    rung: list[bool] = []
    event_buffer = CeleryEventBuffer()
    event_buffer.ring = lambda: rung.append(True)
    event_buffer.started([])
    assert rung == []
    event_buffer.started([queued_job()])
    event_buffer.started([queued_job()])
    assert rung == [True]
    sent(event_buffer)
    event_buffer.started([queued_job()])
    assert rung == [True, True]


def test_received_jobs_are_in_celerys_own_statistics() -> None:
    before = state.total_count["predict"]
    event_buffer = CeleryEventBuffer()
    event_buffer.received([queued_job(), queued_job()], "off")
    assert state.total_count["predict"] == before + 2


def test_without_anybody_who_listens_events_are_dropped() -> None:
    event_buffer, dispatcher = CeleryEventBuffer(), RecordingDispatcher()
    dispatcher.enabled = False
    event_buffer.started([queued_job()])
    event_buffer.flush(dispatcher)
    assert dispatcher.sent == []
    assert sent(event_buffer) == []


def test_events_wait_for_a_connection() -> None:
    event_buffer, dispatcher = CeleryEventBuffer(), RecordingDispatcher()
    event_buffer.started([queued_job()])
    dispatcher.producer = None
    event_buffer.flush(dispatcher)
    assert dispatcher.sent == []
    dispatcher.producer = "connected"
    event_buffer.flush(dispatcher)
    assert [type_ for type_, _ in dispatcher.sent] == ["task-started"]


def test_a_worker_without_task_events_sends_none() -> None:
    event_buffer, dispatcher = CeleryEventBuffer(), RecordingDispatcher()
    dispatcher.groups = {"worker"}
    event_buffer.started([queued_job()])
    event_buffer.flush(dispatcher)
    dispatcher.groups = set()
    event_buffer.flush(dispatcher)
    assert dispatcher.sent == []


class RecordingProducer:
    """Keeps what Celery's own dispatcher sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.is_away = False

    def publish(self, body: Any, routing_key: str, **_: Any) -> None:
        if self.is_away:
            raise ConnectionError("the broker is away")
        self.sent.append((routing_key, body))


@pytest.fixture
def celerys_own() -> EventDispatcher:
    """Celery's dispatcher as a worker with task events has it, which sends each event by itself."""
    dispatcher = EventDispatcher(app=app, hostname="w@1", enabled=False)
    dispatcher.enabled, dispatcher.producer = True, RecordingProducer()
    return dispatcher


def test_events_are_as_celerys_dispatcher_makes_them(celerys_own: EventDispatcher) -> None:
    event_buffer, producer = CeleryEventBuffer(), celerys_own.producer
    event_buffer.received([queued_job("a"), queued_job("b")])
    event_buffer.flush(celerys_own)
    celerys_own.send("task-received", uuid="b", timestamp=1.0)
    [(multi, [first, second]), (single, theirs)] = producer.sent
    assert (multi, single) == ("task.multi", "task.received")
    assert first["clock"] < second["clock"] < theirs["clock"]
    assert abs(second["timestamp"] - time.time()) < 60
    changing = ("clock", "timestamp")
    assert {name: value for name, value in second.items() if name not in changing} == {
        name: value for name, value in theirs.items() if name not in changing
    }


@pytest.mark.skipif(celery.VERSION < (5, 7), reason="the dispatcher of Celery 5.6 drops what fails twice")
def test_events_that_a_broker_did_not_take_are_sent_before_the_next_ones(celerys_own: EventDispatcher) -> None:
    event_buffer, producer = CeleryEventBuffer(), celerys_own.producer
    producer.is_away = True
    for job_id in "ab":
        event_buffer.started([queued_job(job_id)])
        event_buffer.flush(celerys_own)
    assert producer.sent == []
    producer.is_away = False
    event_buffer.started([queued_job(f"{number}") for number in range(1_001)])
    event_buffer.flush(celerys_own)
    assert [len(events) for _, events in producer.sent] == [1, 1, 500, 500, 1]
    ids = [event["uuid"] for _, events in producer.sent for event in events]
    assert ids == ["a", "b", *map(str, range(1_001))]


def test_what_can_not_be_sent_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "_MAX_BUFFERED", 3)
    event_buffer = CeleryEventBuffer()
    event_buffer.started([queued_job(f"{number}") for number in range(10)])
    assert [fields["uuid"] for _, fields in sent(event_buffer)] == ["7", "8", "9"]


def test_an_error_of_the_dispatcher_reaches_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(RecordingDispatcher):
        def publish(self, *_: Any, **__: Any) -> None:
            raise KeyError("odd")

    event_buffer = CeleryEventBuffer()
    event_buffer.started([queued_job()])
    with caplog.at_level(logging.WARNING):
        event_buffer.flush(Broken())
    assert "sending events failed" in caplog.text
