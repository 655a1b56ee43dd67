"""Celery's options of a call: what each becomes in the message and in the record."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from tests.workers.conftest import message_of, submit
from workers import keys, tasks
from workers.engine.intake.messages import parse
from workers.errors import JobArgumentsWrong
from workers.jobs import query
from workers.jobs.accept import Limits
from workers.jobs.query import JobState
from workers.queues.naming import queue_name

QUEUE = queue_name("adding")


def test_countdown_and_eta_travel_in_the_message(store: redis.Redis) -> None:
    eta = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)
    assert message_of(store, submit(eta=eta).job_id).headers["eta"] == eta.isoformat()
    at = datetime.fromisoformat(message_of(store, submit(countdown=60).job_id).headers["eta"])
    assert timedelta(seconds=50) < at - datetime.now(UTC) < timedelta(seconds=70)


@pytest.mark.parametrize("options", [{"expires": 60}, {"limits": Limits(expires_in_s=60)}])
def test_a_job_that_expires_is_noted(store: redis.Redis, options: dict[str, Any]) -> None:
    accepted = submit(**options)
    noted = store.zscore(keys.EXPIRING, accepted.job_id)
    assert noted == pytest.approx(accepted.submitted_at + 60, abs=1)
    assert query.get(accepted.job_id).expires_at == pytest.approx(noted)
    assert datetime.fromisoformat(message_of(store, accepted.job_id).headers["expires"]).timestamp() == noted


def test_expires_may_be_a_moment(store: redis.Redis) -> None:
    at = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)
    assert store.zscore(keys.EXPIRING, submit(expires=at).job_id) == at.timestamp()


def test_headers_and_priority_travel_in_the_message_and_ours_can_not_be_replaced(store: redis.Redis) -> None:
    accepted = submit(headers={"trace": "t-1", keys.SUBMITTED_AT_HEADER: 5}, priority=7)
    message = message_of(store, accepted.job_id)
    assert message.headers["trace"] == "t-1"
    assert message.headers[keys.SUBMITTED_AT_HEADER] == accepted.submitted_at
    assert message.properties["priority"] == 7


@pytest.mark.parametrize("name", ["id", "task"])
def test_headers_can_not_make_another_job_of_it(store: redis.Redis, name: str) -> None:
    accepted = submit(headers={name: "other"})
    headers = message_of(store, accepted.job_id).headers
    assert (headers["id"], headers["task"]) == (accepted.job_id, "predict")


def test_inputs_show_in_the_message_shortly_or_not_at_all(store: redis.Redis) -> None:
    secret = "s" * 40
    shown = message_of(store, submit(row=secret).job_id).headers
    assert secret in shown["argsrepr"]
    assert len(message_of(store, submit(row=["s" * 90] * 1_000).job_id).headers["argsrepr"]) <= 500
    hidden = message_of(store, submit(row=secret, argsrepr="").job_id).headers
    assert secret not in json.dumps(hidden)


@pytest.mark.parametrize("name", ["link", "link_error", "chain", "chord"])
def test_callbacks_that_are_no_signatures_are_refused_with_nothing_stored(store: redis.Redis, name: str) -> None:
    with pytest.raises(JobArgumentsWrong, match="link, chain, chord"):
        tasks.predict.apply_async(("adding", 1), **{name: [5]})
    assert store.keys() == []


def test_callbacks_that_are_too_long_are_refused_with_nothing_stored(store: redis.Redis) -> None:
    with pytest.raises(JobArgumentsWrong, match="262,144"):
        tasks.predict.apply_async(("adding", 1), link=tasks.predict.si("adding", "x" * 300_000))
    assert store.keys() == []


def test_a_moment_without_a_zone_is_utc_wherever_the_submitter_is(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        accepted = submit(expires=datetime(2031, 5, 4, 3, 2, 1))  # noqa: DTZ001 - what is tested
    finally:
        monkeypatch.undo()
        time.tzset()
    expected = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC).timestamp()
    assert store.zscore(keys.EXPIRING, accepted.job_id) == expected
    message = store.get(keys.message(accepted.job_id))
    assert isinstance(message, bytes)
    assert parse("tag", "adding", message).expires_at == expected


@pytest.mark.parametrize(
    "options",
    [
        {"expires": "soon"},
        {"expires": timedelta(seconds=5)},
        {"countdown": "a while"},
        {"countdown": 1e300},
        {"eta": 5},
        {"stamped_headers": ["missing"]},
        {"headers": {"not": object()}},
    ],
)
def test_options_that_say_nothing_are_refused_with_nothing_stored(store: redis.Redis, options: dict[str, Any]) -> None:
    with pytest.raises(JobArgumentsWrong):
        submit(**options)
    assert store.keys() == []


def test_options_of_routing_and_publishing_change_nothing(store: redis.Redis) -> None:
    options = {"queue": "elsewhere", "routing_key": "elsewhere", "serializer": "pickle", "compression": "gzip"}
    result = tasks.predict.apply_async(("adding", 1), **options, retry=False, ignore_result=True, shadow="p")
    assert store.llen(QUEUE) == 1
    assert message_of(store, result.id).arguments() == (["adding", 1], {})


def test_a_signature_is_sent_like_a_call(store: redis.Redis) -> None:
    result = tasks.predict.s("adding").apply_async((), {"inputs": [1, 2]}, countdown=5)
    assert message_of(store, result.id).arguments() == (["adding"], {"inputs": [1, 2]})
    assert query.get(result.id).state is JobState.QUEUED


@pytest.mark.parametrize("key", ["Ada, 1815 ü", "x" * 200, "\ud800"])
def test_a_sticky_key_travels_in_the_message_and_is_in_the_record(store: redis.Redis, key: str) -> None:
    results = [tasks.predict.apply_async(("adding", 1), sticky_key=key)]
    results += tasks.predict.bulk("adding", [1, 2], sticky_key=key)
    for result in results:
        message = store.get(keys.message(result.id))
        assert isinstance(message, bytes)
        assert parse("tag", "adding", message).sticky_key == key
        assert query.get(result.id).sticky_key == key


@pytest.mark.parametrize("key", ["", "x" * 201, 5, ["a"]])
def test_what_can_be_no_sticky_key_is_refused_with_nothing_stored(store: redis.Redis, key: Any) -> None:
    with pytest.raises(JobArgumentsWrong, match="sticky_key"):
        tasks.predict.apply_async(("adding", 1), sticky_key=key)
    with pytest.raises(JobArgumentsWrong, match="sticky_key"):
        tasks.predict.bulk("adding", [1, 2], sticky_key=key)
    assert store.keys() == []
