"""Webhooks over HTTP: asking for one, what is refused, and the log of deliveries."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from api.auth import guard
from api.auth.identity import Identity
from registry.roles import Role
from tests.api.conftest import Client, View
from tests.support.servers.webhook_receiver import SECRET
from tests.support.service.environment import forget_cached_settings
from workers import keys
from workers.platform.redis.client import records_client
from workers.webhooks import store as deliveries

URL = "https://hooks.example.com/hook?token=secret"


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("QUEUECAST_WEBHOOK_SECRETS", SECRET)
    monkeypatch.setenv("QUEUECAST_WEBHOOK_HOSTS", "hooks.example.com")
    forget_cached_settings()
    yield
    monkeypatch.undo()
    forget_cached_settings()


SetRole = Callable[[Role], None]


@pytest.fixture
def role_of(monkeypatch: pytest.MonkeyPatch) -> SetRole:
    """Sets what the caller of the requests from now on may do."""

    def set_role(role: Role) -> None:
        monkeypatch.setattr(guard, "ANONYMOUS", Identity("shop", role))

    return set_role


def cancelled(client: Client, **rows: Any) -> str:
    job_id = client.submit(input=[1, 2], **rows)
    client.delete(f"/jobs/{job_id}")
    return job_id


def test_what_was_told_of_a_job_is_found_under_its_id(client: Client, adding: View) -> None:
    job_id = cancelled(client, callback_url=URL)
    delivery = client.get(f"/webhooks/deliveries/{job_id}").json
    assert delivery["status"] == "pending"
    assert delivery["callback_url"] == "https://hooks.example.com/hook?…"
    assert delivery["created_at"] == delivery["next_attempt_at"]
    assert (delivery["endpoint_name"], delivery["attempts"]) == ("adding", [])
    other = cancelled(client)
    assert client.get(f"/webhooks/deliveries/{other}").json["code"] == "delivery_not_found"


def test_a_model_and_many_inputs_can_have_callbacks_too(client: Client, adding: View) -> None:
    body = {"model_name": "adder", "input": [1, 2], "callback_url": URL}
    ids = [client.post("/predict", json=body).json["job_id"]]
    rows = [{"input": [1, 2], "callback_url": URL}, {"input": [1, 2]}]
    ids += client.post("/predict/adding/bulk", json=rows).json["job_ids"]
    for job_id in ids:
        client.delete(f"/jobs/{job_id}")
    found = client.get("/webhooks/deliveries?endpoint_name=adding&status=pending").json["deliveries"]
    assert [each["job_id"] for each in found] == ids[1::-1]
    assert client.get("/webhooks/deliveries?status=delivered").json == {"deliveries": []}
    assert client.get("/webhooks/deliveries?endpoint_name=other").json == {"deliveries": []}
    assert len(client.get("/webhooks/deliveries?limit=1").json["deliveries"]) == 1
    assert client.get("/webhooks/deliveries?status=lost").json["field"] == "status"


def test_it_is_sent_again_when_asked_to_be(client: Client, adding: View) -> None:
    job_id = cancelled(client, callback_url=URL)
    answer = client.post(f"/webhooks/deliveries/{job_id}/redeliver")
    assert (answer.status_code, answer.json["status"]) == (202, "pending")
    assert client.post("/webhooks/deliveries/unknown/redeliver").status_code == 404


@pytest.mark.parametrize("url", ["https://elsewhere.example.com/", "http://hooks.example.com/", "https://10.0.0.1/"])
def test_a_callback_that_is_not_allowed_is_refused_before_there_is_a_job(
    client: Client, adding: View, url: str
) -> None:
    answer = client.post("/predict/adding", json={"input": [1, 2], "callback_url": url})
    assert (answer.status_code, answer.json["code"], answer.json["field"]) == (422, "callback_refused", "callback_url")
    assert "QUEUECAST_WEBHOOK_HOSTS" in answer.json["detail"]
    rows = [{"input": [1, 2]}, {"input": [1, 2], "callback_url": url}]
    assert client.post("/predict/adding/bulk", json=rows).json["field"] == "[1].callback_url"
    wanted = {"endpoint_name": "more", "model_name": "adder", "callback_url": url}
    assert client.post("/deployments/deploy", json=wanted).json["code"] == "callback_refused"
    assert client.get("/jobs").json == {"jobs": []}
    assert client.get("/deployments/more").status_code == 404


def test_without_a_secret_it_is_said_what_to_set(client: Client, adding: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUEUECAST_WEBHOOK_SECRETS")
    forget_cached_settings()
    answer = client.post("/predict/adding", json={"input": [1, 2], "callback_url": URL})
    assert (answer.status_code, answer.json["code"]) == (422, "webhooks_not_set_up")
    assert "QUEUECAST_WEBHOOK_SECRETS" in answer.json["detail"]
    assert client.post("/predict/adding", json={"input": [1, 2]}).status_code == 202


def test_a_deployment_has_a_callback_until_it_is_taken_away(client: Client, adding: View) -> None:
    assert client.deploy(callback_url=URL)["settings"]["callback_url"] == URL
    assert client.deploy()["settings"]["callback_url"] == URL
    assert client.deploy(callback_url=None)["settings"]["callback_url"] is None


def test_the_same_key_with_another_callback_is_another_request(client: Client, adding: View) -> None:
    headers = {"Idempotency-Key": "once"}
    first = client.post("/predict/adding", json={"input": [1, 2], "callback_url": URL}, headers=headers)
    again = client.post("/predict/adding", json={"input": [1, 2], "callback_url": URL}, headers=headers)
    assert again.json["job_id"] == first.json["job_id"]
    assert (
        client.post("/predict/adding", json={"input": [1, 2]}, headers=headers).json["code"] == "idempotency_conflict"
    )


def test_metrics_tell_what_waits_to_be_told(client: Client, adding: View) -> None:
    cancelled(client, callback_url=URL)
    text = client.get("/metrics").text
    assert "queuecast_webhooks_pending 1.0" in text
    assert 'queuecast_webhook_deliveries_total{outcome="delivered"} 0.0' in text
    assert deliveries.figures().pending == 1


def test_what_receivers_answer_is_read_by_operators_alone(client: Client, adding: View, role_of: SetRole) -> None:
    role_of(Role.CLIENT)
    job_id = cancelled(client, callback_url=URL)
    ended(job_id, "failed", status_code=500, error="It answered 500.", answer="what only the network sees")
    for role, shown in ((Role.OPERATOR, "what only the network sees"), (Role.CLIENT, None)):
        role_of(role)
        [listed] = client.get("/webhooks/deliveries").json["deliveries"]
        [attempt] = listed["attempts"]
        assert (attempt["status_code"], attempt["error"], attempt["answer"]) == (500, "It answered 500.", shown)
        assert client.get(f"/webhooks/deliveries/{job_id}").json == listed


def test_the_page_of_a_clients_job_doesnt_show_the_deployments_receiver(
    client: Client, adding: View, role_of: SetRole
) -> None:
    role_of(Role.CLIENT)
    job_id = client.submit(input=[1, 2])
    records_client().hset(keys.ENDPOINT_CALLBACKS, "adding", "internal.example.com https://internal.example.com/hook")
    client.delete(f"/jobs/{job_id}")
    assert "internal.example.com" not in client.get(f"/console/jobs/{job_id}").text
    assert client.get(f"/webhooks/deliveries/{job_id}").json["code"] == "delivery_not_found"


def ended(job_id: str, status: str, **attempt: Any) -> None:
    """What the background process writes at the end of a delivery."""
    attempts = [{"at": 1e9, "status_code": None, "error": None, "duration_ms": 12.0, "answer": None, **attempt}]
    records_client().hset(keys.delivery(job_id), items=["status", status, "attempts", json.dumps(attempts)])


def test_the_page_of_a_job_shows_what_became_of_its_webhook_and_sends_it_again(client: Client, adding: View) -> None:
    def shown() -> str:
        return client.get(f"/console/jobs/{job_id}").text

    job_id = client.submit(input=[1, 2], callback_url=URL)
    assert 'id="webhook" data-live' in shown()
    client.delete(f"/jobs/{job_id}")
    assert '<span class="chip pending">' in shown()
    assert "is due" in shown()
    assert 'id="webhook" data-live' in shown()
    ended(job_id, "failed", error="<b>Nobody</b> listens there.")
    assert '<span class="chip failed">' in shown()
    assert "&lt;b&gt;Nobody&lt;/b&gt; listens there." in shown()
    assert "secret" not in shown()
    [mark] = set(re.findall(r'name="form_mark" value="(.*?)"', shown()))
    answer = client.post(f"/console/jobs/{job_id}/redeliver", data={"form_mark": mark})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/console/jobs/{job_id}?done=redeliver")
    assert deliveries.get(job_id).status == "pending"
    ended(job_id, "delivered", status_code=204)
    assert "answered 204 in 12 ms" in shown()
    assert 'id="webhook">' in shown()
    assert "Webhook</h2>" not in client.get(f"/console/jobs/{cancelled(client)}").text


def hidden_fields(page: str) -> dict[str, str]:
    return dict(re.findall(r'type="hidden" name="(\w+)" value="(.*?)"', page))


def test_the_console_shows_no_token_of_a_deployments_callback_and_puts_none_into_an_address(client: Client) -> None:
    client.register()
    form = client.get("/console/models/adder/versions/1/deploy").text
    assert '<form method="post" action="/console/deploy/review"' in form
    sent = {**hidden_fields(form), "endpoint_name": "told", "callback_url": URL}
    asked = client.post("/console/deploy/review", data=sent).text
    assert "Callback URL: https://hooks.example.com/hook?…." in asked
    assert client.post("/console/deploy", data=hidden_fields(asked)).status_code == 303
    assert client.get("/deployments/told").json["settings"]["callback_url"] == URL
    shown = client.get("/console/deployments/told").text
    assert "https://hooks.example.com/hook?…" in shown
    assert "secret" not in shown
