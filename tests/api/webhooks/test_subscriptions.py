"""Subscriptions of webhooks to events over HTTP: what is made, what is shown, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry.judging.subscriptions import MAX_SUBSCRIPTIONS, EventKind
from tests.api.conftest import Client
from tests.support.servers.webhook_receiver import SECRET
from tests.support.service.environment import forget_cached_settings

PATH = "/webhooks/subscriptions"
URL = "https://hooks.example.com/hook?token=secret"


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("QUEUECAST_WEBHOOK_SECRETS", SECRET)
    monkeypatch.setenv("QUEUECAST_WEBHOOK_HOSTS", "hooks.example.com")
    forget_cached_settings()
    yield
    monkeypatch.undo()
    forget_cached_settings()


def test_a_subscription_is_made_shown_without_its_secrets_and_ended(client: Client) -> None:
    wanted = {"url": URL, "events": ["rollout.aborted"], "endpoint_names": ["adding"]}
    answer = client.post(PATH, json=wanted)
    assert answer.status_code == 201
    made = answer.json
    assert (made["url"], made["events"]) == ("https://hooks.example.com/hook?…", ["rollout.aborted"])
    assert answer.headers["Location"].endswith(f"{PATH}/{made['subscription_id']}")
    assert client.get(PATH).json == {"subscriptions": [made]}
    assert client.delete(f"{PATH}/{made['subscription_id']}").status_code == 204
    assert client.get(PATH).json == {"subscriptions": []}
    assert client.delete(f"{PATH}/{made['subscription_id']}").json["code"] == "subscription_not_found"


def test_without_events_and_endpoints_it_gets_all(client: Client) -> None:
    made = client.post(PATH, json={"url": URL}).json
    assert (made["events"], made["endpoint_names"]) == ([each.value for each in EventKind], None)


@pytest.mark.parametrize(
    ("wanted", "code", "field"),
    [
        ({"url": "https://elsewhere.example/"}, "callback_refused", "url"),
        ({"url": "ftp://hooks.example.com/"}, "request_invalid", "url"),
        ({"url": URL, "events": ["job.succeeded"]}, "request_invalid", "events[0]"),
        ({"url": URL, "events": []}, "request_invalid", "events"),
        ({"url": URL, "endpoint_names": ["a b"]}, "name_invalid", None),
    ],
)
def test_what_gets_no_webhooks_is_refused(client: Client, wanted: dict[str, object], code: str, field: str) -> None:
    answer = client.post(PATH, json=wanted)
    assert (answer.status_code, answer.json["code"], answer.json.get("field")) == (422, code, field), answer.text


def test_a_service_without_a_secret_takes_none(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUECAST_WEBHOOK_SECRETS", "")
    forget_cached_settings()
    assert client.post(PATH, json={"url": URL}).json["code"] == "webhooks_not_set_up"


def test_their_number_is_bounded(client: Client) -> None:
    for _ in range(MAX_SUBSCRIPTIONS):
        assert client.post(PATH, json={"url": URL}).status_code == 201
    assert client.post(PATH, json={"url": URL}).json["code"] == "settings_invalid"
