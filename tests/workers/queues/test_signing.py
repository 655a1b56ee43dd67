"""Signed messages: with a key set, workers take what is signed with it and put everything else aside."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
import redis
from celery import Celery, signals
from kombu.serialization import dumps

from tests.support.service.environment import forget_cached_settings
from workers import keys
from workers.engine.intake.messages import MessageUnreadable, QueuedJob, parse
from workers.errors import SettingsWrong
from workers.jobs import accept
from workers.jobs.accept import Limits
from workers.queues import arguments, envelopes
from workers.queues.naming import queue_name
from workers.settings import load

KEY, OTHER = "k" * 32, "o" * 32


class SetKey:
    """Sets QUEUECAST_MESSAGE_KEY for what this process does from now on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def __call__(self, value: str) -> None:
        self._patch.setenv("QUEUECAST_MESSAGE_KEY", value)
        forget_cached_settings()


@pytest.fixture
def set_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetKey]:
    yield SetKey(monkeypatch)
    monkeypatch.undo()
    forget_cached_settings()


def sent(store: redis.Redis, **options: Any) -> bytes:
    """Submit a job; return its message."""
    accepted = accept.submit(("adding", [1, "é"]), {}, **options)
    message = store.get(keys.message(accepted.job_id))
    assert isinstance(message, bytes)
    return message


def read(message: bytes) -> QueuedJob:
    return parse("tag", "adding", message)


def text_of(body: Any) -> str:
    """The body as Celery sends it."""
    text: str = dumps(body, serializer="json")[2]  # type: ignore[no-untyped-call]
    return text


def changed(message: bytes, **headers: Any) -> bytes:
    document = json.loads(message)
    document["headers"].update(headers)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"owner": "shop", "limits": Limits(expires_in_s=60)},
        {"eta": "2030-01-01T00:00:00+00:00", "expires": "2031-01-01T00:00:00+00:00", "priority": 3},
        {"headers": {"mine": 1, "queuecast_signature": "x"}},
        {"countdown": 10, "expires": 100},
    ],
)
def test_what_is_submitted_with_the_key_is_taken(store: redis.Redis, set_key: SetKey, options: dict[str, Any]) -> None:
    set_key(KEY)
    assert arguments.values(read(sent(store, **options)).rows) == [[1, "é"]]


def test_what_is_not_signed_or_with_another_key_is_no_message(store: redis.Redis, set_key: SetKey) -> None:
    unsigned = sent(store)
    set_key(OTHER)
    strange = sent(store)
    set_key(KEY)
    with pytest.raises(MessageUnreadable, match=r"not signed.*QUEUECAST_MESSAGE_KEY"):
        read(unsigned)
    with pytest.raises(MessageUnreadable, match="another key"):
        read(strange)


@pytest.mark.parametrize(
    "headers",
    [
        {"id": "another"},
        {"expires": None},
        {"eta": "2030-01-01T00:00:00+00:00"},
        {keys.OWNER_HEADER: "somebody"},
        {keys.SIGNATURE_HEADER: "é"},
        {keys.SIGNATURE_HEADER: 5},
        {keys.SIGNATURE_HEADER: ["x"]},
        {keys.SIGNATURE_HEADER: "\ud800"},
    ],
)
def test_what_was_changed_on_its_way_is_no_message(
    store: redis.Redis, set_key: SetKey, headers: dict[str, Any]
) -> None:
    set_key(KEY)
    message = sent(store, owner="shop", limits=Limits(expires_in_s=60))
    assert read(message).owner == "shop"
    with pytest.raises(MessageUnreadable):
        read(changed(message, **headers))
    document = json.loads(message)
    other = json.loads(sent(store))
    with pytest.raises(MessageUnreadable):
        read(json.dumps({**document, "body": other["body"][:-4] + "AAAA"}).encode())


def test_a_key_is_replaced_without_a_pause(store: redis.Redis, set_key: SetKey) -> None:
    set_key(KEY)
    old = sent(store)
    set_key(f"{OTHER}, {KEY}")
    new = sent(store)
    assert read(old).rows == read(new).rows
    set_key(OTHER)
    assert read(new).rows
    with pytest.raises(MessageUnreadable):
        read(old)


def test_without_a_key_signed_messages_are_taken_too(store: redis.Redis, set_key: SetKey) -> None:
    set_key(KEY)
    message = sent(store)
    set_key("")
    assert read(message).rows


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_celery_program_signs_with_what_the_documentation_shows(
    store: redis.Redis, bare_app: Celery, set_key: SetKey, compression: str | None
) -> None:
    set_key(KEY)

    def sign(headers: dict[str, Any], body: Any, **_: Any) -> None:
        head = json.dumps([headers["id"], headers["eta"], headers["expires"], None], separators=(",", ":"))
        content = head.encode() + b"\n" + text_of(body).encode()
        headers["queuecast_signature"] = hmac.digest(KEY.encode(), content, "sha256").hex()

    signals.before_task_publish.connect(sign)
    try:
        bare_app.send_task("predict", ["adding", 1], queue=queue_name("adding"), expires=60, compression=compression)
    finally:
        signals.before_task_publish.disconnect(sign)
    [message] = cast("list[bytes]", store.lrange(queue_name("adding"), 0, -1))
    assert arguments.values(read(message).rows) == [1]
    assert envelopes.decode(message).headers["expires"]


def test_a_short_key_is_refused_and_not_repeated(set_key: SetKey) -> None:
    set_key("secret")
    with pytest.raises(SettingsWrong, match=r"QUEUECAST_MESSAGE_KEY: .*32 characters.*openssl") as refused:
        load()
    assert "secret" not in str(refused.value)
