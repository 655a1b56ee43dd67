"""`queuecast webhooks`, against a stand-in for the service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService


def delivery(due_in_s: float | None) -> dict[str, Any]:
    due = None if due_in_s is None else (datetime.now(UTC) + timedelta(seconds=due_in_s)).isoformat()
    return {
        "job_id": "j1", "endpoint_name": "prod", "status": "pending", "callback_url": "https://hooks.example.com/",
        "created_at": "2026-11-24T13:39:16+00:00", "next_attempt_at": due, "attempts": [],
    }  # fmt: skip


@pytest.mark.parametrize(("due_in_s", "said"), [(-3_600, True), (3_600, False), (None, False)])
def test_webhooks_that_nobody_sends_are_pointed_out(
    service: FakeService, command: Command, due_in_s: float | None, said: bool
) -> None:
    service.on("GET", "/webhooks/deliveries", {"deliveries": [delivery(due_in_s)]})
    result = command("webhooks", "list")
    assert result.exit_code == 0, result.output
    assert ("no background process runs" in result.stderr) == said


def test_what_was_sent_again_before_a_refusal_is_said(service: FakeService, command: Command) -> None:
    service.on("POST", "/webhooks/deliveries/j1/redeliver", delivery(0), status=202)
    refusal = {"detail": "There is no delivery for job 'j2'.", "code": "delivery_not_found", "status": 404}
    service.on("POST", "/webhooks/deliveries/j2/redeliver", refusal, status=404)
    result = command("webhooks", "redeliver", "j1", "j2")
    assert result.exit_code == 1
    assert "j1 is sent again" in result.stdout
    assert "code=delivery_not_found" in result.stderr


def test_a_url_is_subscribed_listed_and_unsubscribed(service: FakeService, command: Command) -> None:
    made = {
        "subscription_id": "s1", "url": "https://hooks.example.com/hook?…", "events": ["rollout.aborted"],
        "endpoint_names": ["prod"], "by": None, "created_at": "2026-11-30T08:00:00+00:00",
    }  # fmt: skip
    service.on("POST", "/webhooks/subscriptions", made, status=201)
    service.on("GET", "/webhooks/subscriptions", {"subscriptions": [made]})
    service.on("DELETE", "/webhooks/subscriptions/s1", None, status=204)
    url = "https://hooks.example.com/hook?token=t"
    result = command("webhooks", "subscribe", url, "--event", "rollout.aborted", "--endpoint", "prod")
    assert result.exit_code == 0, result.output
    assert "gets rollout.aborted (subscription s1)" in result.stdout
    assert service.received[0].json == {"url": url, "events": ["rollout.aborted"], "endpoint_names": ["prod"]}
    listed = command("webhooks", "subscriptions").stdout
    assert "s1" in listed
    assert "prod" in listed
    assert "s1 has ended" in command("webhooks", "unsubscribe", "s1").stdout


def test_webhooks_of_events_are_listed_by_their_own_ids(service: FakeService, command: Command) -> None:
    event = {**delivery(None), "id": "event-rollout_events-7-s1", "job_id": None, "event": "rollout.aborted"}
    service.on("GET", "/webhooks/deliveries", {"deliveries": [event, delivery(None)]})
    shown = command("webhooks", "list").stdout
    assert "event-rollout_events-7-s1" in shown
    assert "rollout.aborted" in shown
    assert "j1" in shown, "a release without events has no `id`"
