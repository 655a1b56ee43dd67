"""Parsing messages: each is a job, a job with a fault, or not a task message."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
import redis
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.conftest import submit
from workers import keys
from workers.engine.intake.messages import MessageUnreadable, QueuedJob, parse
from workers.jobs import records
from workers.jobs.job import Job
from workers.queues import arguments
from workers.queues.naming import queue_name

HEADERS = {"task": "predict", "id": "job"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "task",
        "id",
        "eta",
        "expires",
        "argsrepr",
        "retries",
        "root_id",
        "compression",
        keys.SUBMITTED_AT_HEADER,
        keys.OWNER_HEADER,
    ]
)
MOMENTS = st.datetimes().map(lambda at: at.isoformat()) | JSON


def message(body: Any = None, headers: Any = None, **more: Any) -> bytes:
    text = json.dumps([["adding", 1], {}, {}] if body is None else body)
    return json.dumps(
        {
            "body": base64.b64encode(text.encode()).decode(),
            "content-type": "application/json",
            "headers": HEADERS if headers is None else headers,
            "properties": {"body_encoding": "base64"},
            **more,
        }
    ).encode()


@pytest.mark.parametrize(
    ("sender", "headers", "module"),
    [
        ("this release", {keys.SUBMITTED_AT_HEADER: 1.0, keys.ERRORS_HEADER: "queuecast.errors"}, "queuecast.errors"),
        ("the release before", {keys.SUBMITTED_AT_HEADER: 1.0}, "workers.errors"),
        ("a bare Celery app", {}, "queuecast.errors"),
    ],
)
def test_a_failed_jobs_record_names_the_module_that_its_sender_knows(
    sender: str, headers: dict[str, Any], module: str
) -> None:
    job = parse("", "adding", message(headers={**HEADERS, **headers}))
    assert job.errors_module == module, sender


def check_usable(job: QueuedJob) -> None:
    """Check that a parsed job can be recorded, and that its times are valid."""
    assert job.job_id
    assert (job.rows == []) == (job.fault is not None)
    for at in (job.submitted_at, job.not_before, job.expires_at):
        assert at is None or math.isfinite(at)
    keys.record(job.job_id).encode()
    records.started(Job(job.job_id, job.endpoint_name, job.submitted_at, owner=job.owner), 1.0, attempts=1, worker="w")
    json.dumps(job.event_fields).encode()
    assert job.fault is None or len(str(job.fault)) < 1_000


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_job_or_no_message(content: bytes) -> None:
    with pytest.raises(MessageUnreadable):
        parse("tag", "adding", content)


@given(st.dictionaries(NAMES, MOMENTS))
def test_any_headers_make_a_job_or_no_message(headers: dict[str, Any]) -> None:
    try:
        job = parse("tag", "adding", message(headers={**HEADERS, **headers}))
    except MessageUnreadable:
        return
    check_usable(job)


@given(JSON)
def test_any_body_makes_a_job_perhaps_with_a_fault(body: Any) -> None:
    check_usable(parse("tag", "adding", message(body)))


@given(JSON, JSON)
def test_any_arguments_make_a_job_perhaps_with_a_fault(args: Any, kwargs: Any) -> None:
    check_usable(parse("tag", "adding", message([args, kwargs, {}])))


@given(st.text())
def test_any_text_as_a_body_makes_a_job_perhaps_with_a_fault(body: str) -> None:
    check_usable(parse("tag", "adding", message(**{"body": body})))  # noqa: PIE804 - what is in the envelope's place


def test_a_submitted_job_is_read_as_it_was_sent(store: redis.Redis) -> None:
    accepted = submit(row=[1, "é"], expires=60, countdown=5)
    content = store.get(keys.message(accepted.job_id))
    assert isinstance(content, bytes)
    job = parse("tag", "adding", content)
    assert (job.tag, job.job_id, job.endpoint_name) == ("tag", accepted.job_id, "adding")
    assert (arguments.values(job.rows), job.many, job.fault, job.message) == ([[1, "é"]], False, None, content)
    assert job.submitted_at == accepted.submitted_at
    assert job.expires_at == pytest.approx(accepted.submitted_at + 60, abs=1)
    assert job.not_before == pytest.approx(accepted.submitted_at + 5, abs=1)
    assert job.event_fields["args"] == '["adding",[1,"é"]]'


def test_a_job_of_a_bare_celery_app_is_read(store: redis.Redis, bare_app: Celery) -> None:
    result = bare_app.send_task("predict", ["adding"], {"inputs": [1, 2]}, queue=queue_name("adding"))
    content = store.lindex(queue_name("adding"), 0)
    assert isinstance(content, bytes)
    job = parse("tag", "adding", content)
    assert (job.job_id, arguments.values(job.rows), job.many, job.submitted_at) == (result.id, [1, 2], True, None)


@pytest.mark.parametrize("tag", ["tag", ""])
def test_a_message_of_protocol_1_is_a_job_whose_fault_says_so(store: redis.Redis, bare_app: Celery, tag: str) -> None:
    bare_app.conf.task_protocol = 1
    result = bare_app.send_task("predict", ["adding", 1], queue=queue_name("adding"), countdown=5, expires=60)
    content = store.lindex(queue_name("adding"), 0)
    assert isinstance(content, bytes)
    job = parse(tag, "adding", content)
    assert (job.tag, job.job_id, job.rows, job.not_before) == (tag or result.id, result.id, [], None)
    assert "app.conf.task_protocol = 2" in str(job.fault)
    check_usable(job)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"id": "1"}, "KeyError: 'task'"),
        ({"task": "predict"}, "KeyError: 'id'"),
        ({"task": "predict", "id": 5}, "without an id"),
        ({"task": "os.system", "id": "1"}, "os.system"),
        ([[], {}, {}], "without the headers of a task"),
    ],
)
def test_a_message_without_headers_whose_id_can_not_be_read_is_no_job(body: Any, said: str) -> None:
    with pytest.raises(MessageUnreadable, match=said):
        parse("tag", "adding", message(body, headers={}))


@pytest.mark.parametrize("text", ["", "[" * 100_000, "\x00"])
def test_a_message_without_headers_may_hold_anything(text: str) -> None:
    with pytest.raises(MessageUnreadable):
        parse("tag", "adding", message(headers={}, body=base64.b64encode(text.encode()).decode()))


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "task"),
        ({"task": "predict"}, "id"),
        ({"task": "os.system", "id": "job"}, "os.system"),
        ({"task": ["predict"], "id": "job"}, "only 'predict' runs here"),
        ({"task": "predict", "id": ""}, "without an id"),
        ({"task": "predict", "id": 5}, "without an id"),
        ({"task": "predict", "id": "\ud800"}, "UnicodeEncodeError"),
        ({**HEADERS, "eta": "tomorrow"}, "Invalid isoformat"),
        ({**HEADERS, "expires": 5}, "TypeError"),
    ],
)
def test_what_is_wrong_with_a_message_is_said(headers: dict[str, Any], said: str) -> None:
    with pytest.raises(MessageUnreadable, match=said) as caught:
        parse("tag", "adding", message(headers=headers))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "submitted_at",
    [math.nan, math.inf, -math.inf, 1e300, -5, 0, 10**400, True, "1.7e9", None, [1], 253_402_300_800],
)
def test_a_time_that_is_none_is_ignored(submitted_at: Any) -> None:
    headers = {**HEADERS, keys.SUBMITTED_AT_HEADER: submitted_at}
    job = parse("tag", "adding", message(headers=headers))
    assert job.submitted_at is None
    assert job.fault is None


@pytest.mark.parametrize(
    ("body", "more", "said"),
    [
        ([["other", 1], {}, {}], {}, "A job of 'other' was sent to the queue of 'adding'"),
        ([["adding"], {}, {}], {}, "exactly one of input and inputs"),
        ([{"adding": 1}, {}, {}], {}, "a list and an object"),
        ([["adding", 1], [], {}], {}, "a list and an object"),
        ([1, 2], {}, "can't be read"),
        (None, {"content-type": "application/x-python-serialize"}, "only JSON is read here"),
        (None, {"headers": {**HEADERS, "compression": "application/x-gzip"}}, "can't be decompressed"),
    ],
)
def test_what_is_wrong_with_a_jobs_arguments_is_its_fault(body: Any, more: dict[str, Any], said: str) -> None:
    job = parse("tag", "adding", message(body, **more))
    assert said in str(job.fault)
    assert job.rows == []


def test_a_lost_attempt_is_noted_and_the_job_runs_alone_from_then_on() -> None:
    job = parse("tag", "adding", message())
    job.attempts = 2
    job.failed("w@1", 5.0, "its host died")
    assert job.alone
    assert job.failures == [{"attempt": 2, "worker": "w@1", "at": 5.0, "reason": "its host died"}]
