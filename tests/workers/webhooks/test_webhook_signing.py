"""Signatures, checked by the specification's published example and by an independent receiver."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.documentation import documented_program
from workers.webhooks.signing import new_secret, secrets_of, signature

IDS = st.text("abcXYZ019_-", min_size=1, max_size=128)
JSON_VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)
SECRETS = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())


def headers_of(message_id: str, secret: str, body: bytes, at: int | None = None) -> dict[str, str]:
    timestamp_s = int(time.time()) if at is None else at
    signed = signature(secrets_of(secret), message_id, timestamp_s, body)
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp_s), "webhook-signature": signed}


def test_the_published_example_has_its_signature() -> None:
    keys = secrets_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(SECRETS, IDS, JSON_VALUES)
def test_a_receiver_with_another_implementation_takes_what_is_signed(secret: str, message_id: str, value: Any) -> None:
    body = json.dumps(value).encode()
    assert Webhook(secret).verify(body, headers_of(message_id, secret, body)) == value


@given(SECRETS, SECRETS, IDS)
def test_while_a_secret_is_replaced_receivers_with_either_take_it(new: str, old: str, message_id: str) -> None:
    headers = headers_of(message_id, f"{new} {old}", b"{}")
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (new, old):
        assert Webhook(secret).verify(b"{}", headers) == {}


@pytest.mark.parametrize(
    "change", [{"webhook-id": "msg_2"}, {"webhook-timestamp": str(int(time.time()) - 1)}, {"body": b"{} "}]
)
def test_what_is_changed_on_its_way_is_refused(change: dict[str, Any]) -> None:
    secret = new_secret()
    sent = {**headers_of("msg_1", secret, b"{}"), "body": b"{}", **change}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(sent.pop("body"), sent)


def test_new_secrets_differ_and_can_be_read() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert [len(key) for key in secrets_of(f" {first},\n{second} ")] == [32, 32]


def test_without_a_secret_there_are_no_keys_and_nothing_is_signed() -> None:
    assert secrets_of(" ") == ()
    with pytest.raises(ValueError, match="requires at least one secret"):
        signature((), "msg_1", 1, b"{}")


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\r\nx: y", "ü", "a" * 129])
def test_an_id_that_could_be_read_in_two_ways_is_refused(message_id: str) -> None:
    with pytest.raises(ValueError, match="the id of a webhook"):
        signature((b"k" * 24,), message_id, 1, b"{}")


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("S3CRET" * 6, "secret 2 doesn't begin with whsec_"),
        ("whsec_S3CRET$$", "secret 2 is not base64 after whsec_"),
        ("whsec_S3CRETSS3", "secret 2 is not base64 after whsec_"),
        ("whsec_S3CRETS3CRETS3CRET", "secret 2 has 13 bytes; it must have 24 to 64"),
        ("whsec_" + "S3CRET00" * 11, "secret 2 has 66 bytes; it must have 24 to 64"),
        ("whsec_", "secret 2 has 0 bytes; it must have 24 to 64"),
    ],
)
def test_a_secret_that_is_none_is_counted_and_not_repeated(secret: str, why: str) -> None:
    with pytest.raises(ValueError, match="secret") as caught:
        secrets_of(f"{new_secret()} {secret}")
    assert str(caught.value) == why


def test_the_documented_receivers_take_what_is_genuine_and_nothing_else() -> None:
    documented: dict[str, Any] = {}
    exec(documented_program("webhooks.md"), documented)
    secret = new_secret()
    headers = headers_of("msg_1", f"{new_secret()} {secret}", b'{"a": 1}')
    assert documented["is_genuine"](headers, b'{"a": 1}', secret)
    assert documented["read"](headers, b'{"a": 1}', secret) == {"a": 1}
    late = headers_of("msg_1", secret, b"{}", at=int(time.time()) - 301)
    for wrong, body in ((headers, b'{"a": 2}'), (late, b"{}")):
        assert not documented["is_genuine"](wrong, body, secret)
        with pytest.raises(WebhookVerificationError):
            documented["read"](wrong, body, secret)
