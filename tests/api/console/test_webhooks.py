"""Deliveries of webhooks in the console: listed, filtered, shown with their tries, and sent again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from registry.roles import Role
from tests.api.conftest import Client, View
from tests.api.console.conftest import SetRole
from tests.api.console.pages import fields, page
from tests.support.servers.webhook_receiver import SECRET
from tests.support.service.environment import forget_cached_settings
from workers import keys
from workers.platform.redis.client import records_client

URL = "https://shop.example/ended?token=secret"


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("QUEUECAST_WEBHOOK_SECRETS", SECRET)
    monkeypatch.setenv("QUEUECAST_WEBHOOK_HOSTS", "shop.example")
    forget_cached_settings()
    yield
    monkeypatch.undo()
    forget_cached_settings()


def lost(client: Client, **attempt: Any) -> str:
    """A job that has ended, and whose webhook nobody has taken."""
    job_id = client.submit(input=[1, 2], callback_url=URL)
    client.delete(f"/jobs/{job_id}")
    if attempt:
        attempts = [{"at": 1e9, "status_code": None, "error": None, "duration_ms": 12.0, "answer": None, **attempt}]
        records_client().hset(keys.delivery(job_id), items=["status", "failed", "attempts", json.dumps(attempts)])
    return job_id


def test_deliveries_are_listed_and_filtered(client: Client, adding: View) -> None:
    assert "There is no such delivery" in page(client, "/webhooks")
    job_id = lost(client, error="<b>Nobody</b> listens there.")
    waiting = lost(client)
    shown = page(client, "/webhooks")
    assert f"{job_id[:8]} failed adding https://shop.example/ended" in shown
    assert "Nobody" in shown
    assert f"{waiting[:8]} pending adding" in shown
    assert "secret" not in client.get("/console/webhooks").text
    assert waiting[:8] not in page(client, "/webhooks?status=failed&endpoint_name=adding")
    assert "There is no such delivery" in page(client, "/webhooks?endpoint_name=other")
    page(client, "/webhooks?status=lost", 422)


def test_a_delivery_is_shown_with_its_tries_and_sent_again(client: Client, adding: View) -> None:
    job_id = lost(client, status_code=500, error="It answered 500.", answer="<script>alert(1)</script>")
    shown = page(client, f"/webhooks/{job_id}")
    assert f"msg_{job_id}" in shown
    assert "500 12 ms It answered 500. <script>alert(1)</script>" in shown
    assert "<script>alert" not in client.get(f"/console/webhooks/{job_id}").text
    answer = client.post(
        f"/console/webhooks/{job_id}/redeliver", data=fields(client.get(f"/console/webhooks/{job_id}"))
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/console/webhooks/{job_id}?done=redeliver")
    assert client.get(f"/webhooks/deliveries/{job_id}").json["status"] == "pending"
    assert "Send now" in page(client, f"/webhooks/{job_id}")
    page(client, "/webhooks/unknown", 404)


def test_a_client_sees_its_own_without_the_receivers_answers_and_sends_none_again(
    client: Client, adding: View, role_of: SetRole
) -> None:
    others = lost(client, error="no")
    role_of(Role.CLIENT)
    own = lost(client, error="It answered 500.", answer="what only the network sees")
    assert own[:8] in page(client, "/webhooks")
    assert others[:8] not in page(client, "/webhooks")
    shown = page(client, f"/webhooks/{own}")
    assert "It answered 500." in shown
    assert "what only the network sees" not in shown
    assert "Send again" not in shown
    page(client, f"/webhooks/{others}", 404)
