"""Streams of a job's events: what is sent when, what a reconnect gets, tickets, and pages of other sites."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from flask import Flask

from api.process import services
from api.settings import ApiSettings, AuthMode
from registry.access import api_keys
from registry.access.api_keys import Role
from registry.database import default_database
from tests.api.conftest import MAX_BYTES, Client, View
from tests.api.stand_in_worker import StandInWorker
from tests.support import desk
from tests.support.waiting import eventually
from workers import keys
from workers.jobs import tickets
from workers.jobs.on_loop.following import Follower, Following
from workers.platform.redis.client import records_client

ELSEWHERE = "https://shop.example"


@pytest.fixture
def settings() -> ApiSettings:
    """A stream lives for a moment, so that each is read to its end."""
    return ApiSettings(
        max_body_bytes=MAX_BYTES, deployment_cache_s=0, event_stream_s=0.05, event_origins=f"{ELSEWHERE}, http://a.test"
    )


@pytest.fixture
def patient(app: Flask) -> Iterator[None]:
    """Streams live until their jobs have ended."""
    lasting = services.of(app).settings.model_copy(update={"event_stream_s": 30.0, "event_heartbeat_s": 0.05})
    services.install(app, services.Services(lasting))
    yield
    eventually(lambda: not desk.followers(), message="nobody follows any more")


def events_of(text: str) -> list[dict[str, Any]]:
    """Return event, id and data of each frame of a stream that has them."""
    frames = [dict(line.split(": ", 1) for line in each.splitlines() if ": " in line) for each in text.split("\n\n")]
    return [{**each, "data": json.loads(each["data"])} for each in frames if "data" in each]


def test_a_job_that_has_ended_is_one_event_with_the_whole_job_and_then_the_end(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    job_id = client.submit()
    worker.succeed(job_id, "adding", {"text": "two\nlines"})
    answer = client.get(f"/jobs/{job_id}/events")
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert re.fullmatch(r"retry: 2000\n\nevent: succeeded\nid: succeeded-[0-9a-f]{16}\ndata: {.+}\n\n", answer.text)
    [event] = events_of(answer.text)
    assert event["data"] == client.get(f"/jobs/{job_id}").json


def test_each_change_of_state_is_an_event(client: Client, adding: View, worker: StandInWorker, patient: None) -> None:
    job_id = client.submit()
    texts: list[str] = []
    reader = threading.Thread(target=lambda: texts.append(client.get(f"/jobs/{job_id}/events").text))
    reader.start()
    eventually(lambda: desk.followers(job_id))
    worker.start(job_id, "adding")
    [follower] = desk.followers(job_id)
    eventually(lambda: follower.job is not None and follower.job.state == "running")
    worker.fail(job_id, "adding", "too big")
    reader.join(30)
    events = events_of(texts[0])
    assert [each["event"] for each in events] == ["queued", "running", "failed"]
    assert [each["data"]["status"] for each in events] == ["queued", "running", "failed"]
    assert events[-1]["data"]["error"]["message"] == "too big"
    assert "\n\n:\n\n" in texts[0]


@pytest.mark.slow
def test_a_queued_job_is_told_again_when_its_place_changes(client: Client, adding: View, patient: None) -> None:
    first, second = client.submit(), client.submit()
    texts: list[str] = []
    reader = threading.Thread(target=lambda: texts.append(client.get(f"/jobs/{second}/events").text))
    reader.start()
    eventually(lambda: desk.followers(second))
    client.delete(f"/jobs/{first}")
    [follower] = desk.followers(second)

    def begins_next() -> bool:
        position = follower.job.queue_position if follower.job is not None else None
        return position is not None and not position.position

    eventually(begins_next)
    client.delete(f"/jobs/{second}")
    reader.join(30)
    events = events_of(texts[0])
    assert [each["event"] for each in events] == ["queued", "queued", "cancelled"]
    assert [each["data"]["queue"]["position"] for each in events[:2]] == [1, 0]


def test_a_stream_ends_after_its_time_and_the_next_one_goes_on_after_the_last_event(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    job_id = client.submit()
    [queued] = events_of(client.get(f"/jobs/{job_id}/events").text)
    again = client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": queued["id"]})
    assert events_of(again.text) == []
    worker.succeed(job_id, "adding", 3)
    [ended] = events_of(client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": queued["id"]}).text)
    assert ended["event"] == "succeeded"
    assert client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": ended["id"]}).status_code == 204


@pytest.mark.parametrize(("record", "answer"), [(None, 404), (b"no JSON", 409)])
def test_a_stream_of_a_job_whose_record_is_gone_or_spoilt_ends_and_no_other(
    client: Client, adding: View, patient: None, record: bytes | None, answer: int
) -> None:
    other = client.submit()
    job_id = client.submit()
    texts: list[str] = []
    reader = threading.Thread(target=lambda: texts.append(client.get(f"/jobs/{job_id}/events").text))
    reader.start()
    eventually(lambda: desk.followers(job_id))
    with desk.following(other) as follower:
        if record is None:
            records_client().delete(keys.record(job_id))
        else:
            records_client().set(keys.record(job_id), record)
        reader.join(30)
        assert [each["event"] for each in events_of(texts[0])] == ["queued"]
        assert client.get(f"/jobs/{job_id}/events").status_code == answer
        records_client().delete(keys.record(other))
        eventually(lambda: follower.job is None, message="the other one is followed still")


def test_an_error_while_looking_is_not_the_end_of_all_later_looks(
    client: Client, adding: View, patient: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job_id, look, failed = client.submit(), Following._look, threading.Event()

    async def broken(self: Following, followed: Mapping[str, list[Follower]]) -> None:
        if failed.is_set():
            return await look(self, followed)
        failed.set()
        raise ZeroDivisionError

    monkeypatch.setattr(Following, "_look", broken)
    with desk.following(job_id) as follower:
        assert failed.wait(30)
        records_client().delete(keys.record(job_id))
        eventually(lambda: follower.job is None, message="it is looked at still")
    assert "can't look for 1 followed jobs" in caplog.text


def test_an_unknown_job_is_a_404(client: Client, adding: View) -> None:
    answer = client.get("/jobs/unknown/events")
    assert (answer.status_code, answer.json["code"]) == (404, "job_not_found")
    assert client.post("/jobs/unknown/events-link").status_code == 404


def test_more_streams_than_may_be_open_are_refused_and_every_place_comes_back(
    app: Flask, client: Client, adding: View
) -> None:
    few = services.of(app).settings.model_copy(update={"max_event_streams": 1})
    services.install(app, services.Services(few))
    job_id = client.submit()
    for _ in range(3):
        for method in ("GET", "HEAD"):
            with client.open(f"/jobs/{job_id}/events", method=method) as answer:
                assert answer.status_code == 200
    with services.of(app).streaming(None):
        answer = client.get(f"/jobs/{job_id}/events")
        assert (answer.status_code, answer.json["code"]) == (429, "too_many_streams")
        assert answer.headers["Retry-After"] == "5"
        assert client.get(f"/jobs/{job_id}").status_code == 200
    assert desk.followers() == []
    [shown] = re.findall(r"^queuecast_event_streams .*", client.get("/metrics").text, re.MULTILINE)
    assert shown == "queuecast_event_streams 0.0"


@pytest.fixture
def asking(app: Flask, adding: View) -> Iterator[None]:
    """The API asks for keys."""
    from api.auth.guard import _let_in, _let_in_without_keys

    before = app.before_request_funcs[None]
    position = before.index(_let_in_without_keys)
    kept, before[position] = before[position], _let_in
    keyed = services.of(app).settings.model_copy(update={"auth": AuthMode.ON})
    services.install(app, services.Services(keyed))
    yield
    before[position] = kept


def key_of(name: str, role: Role = Role.CLIENT) -> dict[str, str]:
    with default_database().session() as session:
        _, text = api_keys.create(session, name, role)
        session.commit()
    return {"Authorization": f"Bearer {text}"}


def test_a_client_sees_events_of_its_own_jobs_only(client: Client, asking: None) -> None:
    shop, desk = key_of("shop"), key_of("desk")
    job_id = client.post("/predict/adding", json={"input": [1, 2]}, headers=shop).json["job_id"]
    assert client.get(f"/jobs/{job_id}/events", headers=shop).status_code == 200
    for answer in (
        client.get(f"/jobs/{job_id}/events", headers=desk),
        client.post(f"/jobs/{job_id}/events-link", headers=desk),
    ):
        assert (answer.status_code, answer.json["code"]) == (404, "job_not_found")
    assert client.get(f"/jobs/{job_id}/events").status_code == 401


def test_a_link_opens_the_events_of_its_job_and_nothing_else(
    client: Client, asking: None, caplog: pytest.LogCaptureFixture
) -> None:
    shop = key_of("shop")
    mine, other = (
        client.post("/predict/adding", json={"input": [1, 2]}, headers=shop).json["job_id"] for _ in range(2)
    )
    answer = client.post(f"/jobs/{mine}/events-link", headers=shop)
    assert answer.status_code == 201
    url = answer.json["url"]
    ticket = url.partition("?ticket=")[2]
    assert events_of(client.get(url).text)[0]["data"]["job_id"] == mine
    for path in (f"/jobs/{other}/events?ticket={ticket}", f"/jobs/{mine}/events?ticket=x", url + "x"):
        refused = client.get(path)
        assert (refused.status_code, refused.json["code"]) == (401, "ticket_invalid")
    for path in (f"/jobs/{mine}", f"/jobs/{mine}/events-link"):
        refused = client.get(f"{path}?ticket={ticket}")
        assert refused.status_code in (401, 405)
    assert client.post(f"/jobs/{mine}/events-link?ticket={ticket}").json["code"] == "api_key_missing"
    assert client.delete(f"/jobs/{mine}?ticket={ticket}").json["code"] == "api_key_missing"
    assert ticket not in caplog.text
    assert not [key for key in records_client().keys("*") if ticket.encode() in key]


def test_a_link_is_over_when_it_says_so(client: Client, adding: View) -> None:
    lasting, short = tickets.make("some-job", 60), tickets.make("some-job", 0.05)
    eventually(lambda: tickets.job_of(short) is None)
    assert tickets.job_of(lasting) == "some-job"


def test_pages_of_listed_origins_may_read_events_and_nothing_else(client: Client, adding: View) -> None:
    job_id = client.submit()
    answer = client.get(f"/jobs/{job_id}/events", headers={"Origin": ELSEWHERE})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, ELSEWHERE)
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    for method, path, origin in (
        ("GET", f"/jobs/{job_id}/events", "https://evil.example"),
        ("GET", f"/jobs/{job_id}", ELSEWHERE),
        ("POST", f"/jobs/{job_id}/events-link", ELSEWHERE),
        ("DELETE", f"/jobs/{job_id}", ELSEWHERE),
    ):
        answer = client.open(path, method=method, headers={"Origin": origin})
        assert (answer.status_code, answer.json["code"]) == (403, "api_keys_needed"), (method, path)
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("wrong", ["*", "https://*.example", "shop.example", "https://shop.example/", "null"])
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(wrong: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        ApiSettings(event_origins=wrong)
