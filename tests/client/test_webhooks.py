"""Subscriptions of webhooks to events with both clients."""

from __future__ import annotations

from typing import Any

import pytest

from api.client import NotFound, RequestInvalid, ServiceUnreachable
from tests.cli.fake_service import HANG_UP, FakeService

PATH = "/webhooks/subscriptions"
MADE = {
    "subscription_id": "s1", "url": "https://hooks.example.com/hook?…", "events": ["rollout.aborted"],
    "endpoint_names": ["prod"], "by": "ops", "created_at": "2026-11-30T08:00:00+00:00",
}  # fmt: skip
URL = "https://hooks.example.com/hook?token=t"


def test_a_url_is_subscribed_listed_and_unsubscribed(service: FakeService, client: Any) -> None:
    service.on("POST", PATH, MADE, status=201)
    service.on("GET", PATH, {"subscriptions": [MADE]})
    service.on("DELETE", f"{PATH}/s1", None, status=204)
    made = client.subscribe(URL, events=["rollout.aborted"], endpoint_names=("prod",))
    assert (made.subscription_id, made.events, made.endpoint_names) == ("s1", ["rollout.aborted"], ["prod"])
    assert service.received[0].json == {"url": URL, "events": ["rollout.aborted"], "endpoint_names": ["prod"]}
    assert client.subscriptions() == [made]
    assert client.unsubscribe("s1") is None
    assert service.received[-1].method == "DELETE"


def test_without_events_and_endpoints_it_gets_all(service: FakeService, client: Any) -> None:
    service.on("POST", PATH, MADE, status=201)
    client.subscribe(URL)
    assert service.received[0].json == {"url": URL}


def test_refusals_are_errors(service: FakeService, client: Any) -> None:
    service.on("POST", PATH, {"code": "callback_refused", "detail": "not allowed", "field": "url"}, status=422)
    service.on("DELETE", f"{PATH}/s2", {"code": "subscription_not_found", "detail": "none"}, status=404)
    with pytest.raises(RequestInvalid) as refused:
        client.subscribe(URL)
    assert refused.value.field == "url"
    with pytest.raises(NotFound):
        client.unsubscribe("s2")


def test_a_subscription_whose_answer_is_lost_is_not_made_twice(service: FakeService, client: Any) -> None:
    service.on("POST", PATH, HANG_UP, MADE, status=201)
    with pytest.raises(ServiceUnreachable):
        client.subscribe(URL)
    assert len(service.received) == 1
