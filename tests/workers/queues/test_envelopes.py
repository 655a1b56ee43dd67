"""The form of messages in Redis, held against what kombu itself writes and reads."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.conftest import submit
from workers import keys
from workers.engine.intake.messages import parse
from workers.errors import JOB_ERRORS_MODULE
from workers.keys import ERRORS_HEADER, OWNER_HEADER, SIGNATURE_HEADER, STICKY_KEY_HEADER, SUBMITTED_AT_HEADER
from workers.queues import arguments, envelopes
from workers.queues.envelopes import EnvelopeUnreadable
from workers.queues.naming import queue_name

QUEUE = queue_name("adding")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

OUR_HEADERS = (OWNER_HEADER, SIGNATURE_HEADER, STICKY_KEY_HEADER)


def newest(store: redis.Redis, queue: str) -> Any:
    message = store.lindex(queue, 0)
    assert isinstance(message, bytes)
    return json.loads(message)


@pytest.mark.parametrize(
    ("args", "kwargs", "options"),
    [
        (["adding", [0.5, "é", None]], {}, {}),
        (["adding"], {"inputs": [1, {"a": [True]}]}, {}),
        (["adding", 1], {}, {"expires": datetime(2031, 1, 1, tzinfo=UTC), "eta": datetime(2030, 1, 1, tzinfo=UTC)}),
        (["adding", {"b": 2}], {}, {"root_id": "r", "headers": {"%s": "100%", "%(id)b": '"'}}),
        (["adding", 1], {}, {"headers": {"trace": "t"}, "shadow": "s", "group_id": "g", "priority": 0}),
    ],
)
def test_a_message_is_what_celery_and_kombu_themselves_would_send(
    store: redis.Redis, bare_app: Celery, args: list[Any], kwargs: dict[str, Any], options: dict[str, Any]
) -> None:
    accepted = submit_like_celery(args, kwargs, **options)
    ours = json.loads(store.get(keys.message(accepted)))  # type: ignore[arg-type]
    bare_app.send_task("predict", args, kwargs, task_id=accepted, queue="other", ignore_result=False, **options)
    theirs = newest(store, "other")
    assert ours["headers"].pop(SUBMITTED_AT_HEADER) > 0
    assert [ours["headers"].pop(name) for name in OUR_HEADERS] == [None] * 3
    assert ours["headers"].pop(ERRORS_HEADER) == JOB_ERRORS_MODULE
    assert json.loads(base64.b64decode(ours.pop("body"))) == json.loads(base64.b64decode(theirs.pop("body")))
    # Ours are shorter.
    assert all(ours["headers"].pop(name) and theirs["headers"].pop(name) for name in ("argsrepr", "kwargsrepr"))
    # A new id for each sending; ours is the job's, so that a message that is sent again is the same one.
    assert ours["properties"].pop("delivery_tag") == accepted
    assert theirs["properties"].pop("delivery_tag")
    # The sender listens for nothing: it looks at the record.
    assert ours["properties"].pop("reply_to") == ""
    assert theirs["properties"].pop("reply_to") is not None
    # A broker that knows expiration would drop the message, and nobody would end the job.
    assert ("expiration" in theirs["properties"]) == ("expires" in options)
    theirs["properties"].pop("expiration", None)
    assert theirs["properties"]["delivery_info"].pop("routing_key") == "other"
    assert ours["properties"]["delivery_info"].pop("routing_key") == QUEUE
    assert ours == theirs
    assert list(ours) == list(theirs)


def submit_like_celery(args: list[Any], kwargs: dict[str, Any], **options: Any) -> str:
    from workers.tasks import predict

    return str(predict.apply_async(args, kwargs, **options).id)


def test_kombu_reads_what_is_written(store: redis.Redis, bare_app: Celery) -> None:
    accepted = submit(row=[1, "é"], headers={"trace": "t"}, priority=2)
    with bare_app.connection_for_read() as connection, connection.SimpleQueue(QUEUE) as queue:
        message = queue.get(timeout=5)
        assert message.payload[:2] == [["adding", [1, "é"]], {}]
        assert message.headers["id"] == message.properties["correlation_id"] == accepted.job_id
        assert (message.headers["trace"], message.properties["priority"]) == ("t", 2)
        message.ack()


@pytest.mark.parametrize(
    ("row", "encoding"),
    [
        ([0.5, -1, 1e-7] * 1_000, "utf-8"),
        ({"name": 'a\\b"c\t/é' * 1_000}, "base64"),
        ({"name": "/" * 10_000, "tag": '"delivery_tag": "other"'}, "utf-8"),
        (['"'] * 2_000, "base64"),
        ([0.5], "base64"),
    ],
)
def test_a_long_body_is_written_in_the_shorter_of_the_encodings_that_kombu_reads(
    store: redis.Redis, bare_app: Celery, row: Any, encoding: str
) -> None:
    job_id = submit(row=row).job_id
    stored = store.get(keys.message(job_id))
    assert isinstance(stored, bytes)
    envelope = envelopes.decode(stored)
    assert envelope.properties["body_encoding"] == encoding
    assert envelope.arguments() == (["adding", row], {})
    assert json.loads(envelope.sent_body())[0] == ["adding", row]
    assert arguments.values(parse("", "adding", stored).rows) == [row]
    with bare_app.connection_for_read() as connection, connection.SimpleQueue(QUEUE) as queue:
        read = queue.get(timeout=5)
        assert read.payload[:2] == [["adding", row], {}]
        assert read.properties["delivery_tag"] == job_id
        read.ack()


@pytest.mark.parametrize("compression", [None, "gzip", "bzip2", "zlib"])
def test_what_kombu_writes_is_read(store: redis.Redis, bare_app: Celery, compression: str | None) -> None:
    args = ["adding", ["é"] * 100]
    result = bare_app.send_task("predict", args, {"a": 1}, queue=QUEUE, compression=compression)
    message = store.lindex(QUEUE, 0)
    assert isinstance(message, bytes)
    envelope = envelopes.decode(message)
    assert envelope.headers["id"] == result.id
    assert envelope.arguments() == (args, {"a": 1})


def message(body: Any = "", headers: Any = None, properties: Any = None, **more: Any) -> bytes:
    return json.dumps(
        {
            "body": body,
            "content-type": "application/json",
            "headers": {} if headers is None else headers,
            "properties": {"body_encoding": "base64"} if properties is None else properties,
            **more,
        }
    ).encode()


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_no_envelope_is_called_unreadable(content: bytes) -> None:
    try:
        envelopes.decode(content)
    except EnvelopeUnreadable:
        return
    found = json.loads(content)
    assert isinstance(found["headers"], dict)
    assert isinstance(found["properties"], dict)


@given(st.fixed_dictionaries({"body": JSON, "headers": JSON, "properties": JSON}, optional={"content-type": JSON}))
def test_whatever_is_in_the_places_of_an_envelope_is_read_or_called_unreadable(parts: dict[str, Any]) -> None:
    try:
        envelopes.decode(json.dumps(parts).encode()).arguments()
    except EnvelopeUnreadable:
        assert True


@given(
    st.text() | st.binary().map(lambda content: base64.b64encode(content).decode()),
    st.sampled_from(["application/x-gzip", "application/x-bz2", "application/x-brotli", "gzip", "nothing", ["a"], 5]),
    st.sampled_from([{}, {"body_encoding": "base64"}]),
)
def test_a_body_that_can_not_be_decompressed_is_called_unreadable(
    body: str, compression: Any, properties: dict[str, Any]
) -> None:
    envelope = envelopes.decode(message(body, {"compression": compression}, properties))
    with pytest.raises(EnvelopeUnreadable):
        envelope.arguments()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"headers": {}, "properties": {}}',
        b'{"body": 1, "headers": 5}',
        b"1" * 5_000,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_is_wrong_with_an_envelope_is_said(content: bytes) -> None:
    with pytest.raises(EnvelopeUnreadable, match=r"."):
        envelopes.decode(content)


@pytest.mark.parametrize(
    "text", ["", "[]", "[1, 2]", "[1, 2, 3, 4]", '{"a": 1}', "[" * 100_000, "[1, 2, " + "9" * 5_000 + "]", "\x00"]
)
def test_a_body_that_is_no_call_is_called_unreadable(text: str) -> None:
    envelope = envelopes.decode(message(base64.b64encode(text.encode()).decode()))
    with pytest.raises(EnvelopeUnreadable, match="can't be read"):
        envelope.arguments()


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (None, None),
        ("", None),
        ("1970-01-01T00:00:05", 5),
        ("1970-01-01T02:00:05+02:00", 5),
        ("1970-01-01T00:00:05.25Z", 5.25),
    ],
)
def test_moments_are_seconds_since_the_epoch(moment: str | None, seconds: float | None) -> None:
    assert envelopes.seconds(moment) == seconds
