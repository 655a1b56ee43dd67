"""Settings of a deployment changed in its form: made from their schema, shown before and after, and posted alone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from api.console import settings
from registry.serving.settings import ServingSettings
from tests.api.conftest import Client, View
from tests.api.console.pages import fields, page, problems, text_of
from tests.api.described_client import Answer

FORM = "/console/deployments/adding/settings"


def typed(client: Client, **changed: str) -> dict[str, str]:
    """Everything that the form has, some of it changed."""
    answer = client.get(FORM)
    shown = dict(re.findall(r'<input id="\w+" name="(\w+)" value="([^"]*)"', answer.text))
    chosen = re.findall(r'<select id="\w+" name="(\w+)".*?<option value="(\w*)" selected>', answer.text, re.DOTALL)
    return {**fields(answer), **shown, **dict(chosen), **changed}


def review(client: Client, **changed: str) -> Answer:
    return client.post(f"{FORM}/review", data=typed(client, **changed))


def settings_of(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/deployments/adding").json["settings"]
    return found


def test_the_form_has_every_setting_with_its_bounds_and_its_description(client: Client, adding: View) -> None:
    assert typed(client).keys() == {"form_mark", *ServingSettings.model_fields}
    text = client.get(FORM).text
    assert re.search(r'name="max_attempts" value="3"[^>]* type="number" min="1" max="20" step="1"', text)
    assert re.search(r'name="timeout_s" value="60"[^>]* type="number" min="0" max="86400[.0]*" step="any"', text)
    shown = page(client, "/deployments/adding/settings")
    assert "How many times a job is tried after losing its host or worker. 1 to 20. Default: 3." in shown
    assert "A number, or a range such as 0-4. Default: 1." in shown
    assert re.search(r'<option value="full" selected>full</option>\s*<option value="sampled">', text)


def test_a_change_is_shown_as_before_and_after_and_posts_nothing_else(client: Client, adding: View) -> None:
    client.register(version="2")
    before = settings_of(client)
    answer = review(client, hosts="3", expires_in_s="1.5", events="off")
    assert answer.status_code == 200, answer.text
    shown = text_of(answer)
    for each in ("Hosts 1 3", "Expires in (s) default, or no limit 1.5", "Events full off"):
        assert each in shown
    assert "Timeout" not in shown
    sent = fields(answer)
    assert sent.keys() == {"form_mark", "hosts", "expires_in_s", "events", "revision"}
    answer = client.post(FORM, data=sent)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/deployments/adding?done=configure")
    assert settings_of(client) == {**before, "hosts": 3, "expires_in_s": 1.5, "events": "off"}
    view = client.get("/deployments/adding").json
    assert (view["version"], view["revision"]) == ("1", 2)
    changed = client.get("/deployments/adding/history").json["changes"][0]
    assert (changed["action"], changed["changes"].keys()) == ("configure", {"hosts", "expires_in_s", "events"})


def test_an_endpoint_that_follows_an_alias_still_does_after_a_change(client: Client, adding: View) -> None:
    client.put("/models/adder/aliases/champion", json={"version": "1"})
    client.deploy(alias="champion", follow=True)
    assert client.post(FORM, data=fields(review(client, hosts="2"))).status_code == 303
    view = client.get("/deployments/adding").json
    assert (view["followed_alias"], view["settings"]["hosts"]) == ("champion", 2)


def test_a_rollout_is_typed_as_json_and_taken_away_by_an_empty_field(client: Client, adding: View) -> None:
    answer = review(client, rollout='{"steps": [5, 100]}')
    assert answer.status_code == 200, answer.text
    assert client.post(FORM, data={**fields(answer), "rollout": '{"steps": [5, 100]}'}).status_code == 303
    assert settings_of(client)["rollout"]["steps"] == [5, 100]
    assert "steps" in client.get(FORM).text
    assert client.post(FORM, data=fields(review(client, rollout=""))).status_code == 303
    assert settings_of(client)["rollout"] is None
    assert "must grow" in text_of(review(client, rollout='{"steps": [10, 5]}'))


def test_an_emptied_field_goes_back_to_its_default(client: Client, adding: View) -> None:
    client.deploy(version="1", hosts=4, max_memory_mb=500)
    answer = review(client, hosts="", max_memory_mb="")
    assert "Hosts 4 1" in text_of(answer)
    assert "Max memory (MiB) 500 default, or no limit" in text_of(answer)
    assert client.post(FORM, data=fields(answer)).status_code == 303
    assert (settings_of(client)["hosts"], settings_of(client)["max_memory_mb"]) == (1, None)


def test_a_setting_that_changes_because_of_another_is_shown_too(client: Client, adding: View) -> None:
    client.deploy(version="1", max_batch_size="auto", target_latency_ms=50)
    answer = review(client, max_batch_size="8")
    assert "Max batch size auto 8" in text_of(answer)
    assert "Target latency (ms) 50 default, or no limit" in text_of(answer)
    assert client.post(FORM, data=fields(answer)).status_code == 303
    assert settings_of(client)["target_latency_ms"] is None


@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"hosts": "many"}, "hosts", "or a range such as"),
        ({"hosts": "65"}, "hosts", "from 1 to 64"),
        ({"timeout_s": "0"}, "timeout_s", "greater than 0"),
        ({"events": "some"}, "events", "full"),
        ({"target_latency_ms": "50"}, "target_latency_ms", "it has no effect with max_batch_size 64"),
        ({"hosts": "1"}, "", "Nothing is changed yet."),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_stays(
    client: Client, adding: View, changed: dict[str, str], field: str, said: str
) -> None:
    answer = review(client, **changed)
    assert answer.status_code == 422
    assert said in problems(answer)[field]
    assert all(f'value="{value}"' in answer.text for value in changed.values() if value != "some")


def test_a_callbacks_token_is_not_shown_before_it_is_changed(client: Client, adding: View) -> None:
    answer = review(client, callback_url="https://shop.example/hook?token=secret")
    assert "secret" not in text_of(answer)
    assert "https://shop.example/hook" in text_of(answer)


def test_a_change_that_somebody_else_was_faster_with_is_refused(client: Client, adding: View) -> None:
    sent = fields(review(client, hosts="2"))
    client.deploy()
    assert client.post(FORM, data=sent).status_code == 409
    assert settings_of(client)["hosts"] == 1


def test_what_is_undeployed_has_no_settings_to_change(client: Client, adding: View) -> None:
    sent = fields(review(client, hosts="2"))
    client.post("/deployments/undeploy", json={"endpoint_name": "adding", "backlog": "park"})
    assert "Settings…" not in client.get("/console/deployments/adding").text
    assert "is parked: deploy it" in page(client, "/deployments/adding/settings", 404)
    assert client.post(FORM, data={**sent, "revision": "2"}).status_code == 404
    assert client.get("/deployments/adding").json["status"] == "parked"


def test_fields_are_made_of_every_kind_of_setting() -> None:
    made = settings.Entry.made
    yes_or_no = made("keep", {"type": "boolean", "default": True, "description": "Keep it."})
    assert (yes_or_no.choices, yes_or_no.hint) == ((("true", "yes"), ("false", "no")), "Default: yes.")
    perhaps = made("level", {"anyOf": [{"enum": ["low", "high"], "type": "string"}, {"type": "null"}]})
    assert perhaps.choices == (("", "default"), ("low", "low"), ("high", "high"))
    assert perhaps.optional


def test_a_range_of_hosts_is_typed_and_shown_with_a_dash(client: Client, adding: View) -> None:
    answer = review(client, hosts="0-4", idle_s="60")
    assert "Hosts 1 0-4" in text_of(answer), answer.text
    assert client.post(FORM, data=fields(answer)).status_code == 303
    assert settings_of(client)["hosts"] == {"min": 0, "max": 4}
    assert typed(client)["hosts"] == "0-4"
