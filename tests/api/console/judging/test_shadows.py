"""The page of a shadow in the console: started by a form, shown with its report, stopped after a confirmation."""

from __future__ import annotations

import json

import pytest
import redis

from tests.api.conftest import Client
from tests.api.console.pages import confirm, page, problems, text_of
from workers import keys
from workers.judging.pairs_duty import PairsDuty
from workers.platform.redis.client import records_client

PAGE = "/deployments/adding/shadow"


@pytest.fixture(autouse=True)
def _two_versions(client: Client) -> None:
    client.register()
    client.register()
    client.deploy(version="1")


@pytest.fixture
def store(client: Client) -> redis.Redis:
    return records_client()


def test_a_shadow_is_started_by_a_form_and_stopped_after_a_confirmation(client: Client) -> None:
    assert "shadow" in page(client, "/deployments/adding")
    assert "It has had no shadow." in page(client, PAGE)
    answer = confirm(client, f"{PAGE}/new", version="2", share="0.2")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/console{PAGE}?done=shadow")
    found = client.get(PAGE).json
    assert (found["state"], found["version"], found["share"]) == ("running", "2", 0.2)
    shown = page(client, PAGE)
    assert "Shadow of adding running" in shown
    assert "Share of jobs 20 %" in shown
    assert "No job has both answers yet." in shown
    answer = confirm(client, f"{PAGE}/stop")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/console{PAGE}?done=shadow_stopped")
    assert client.get(PAGE).json["state"] == "stopped"
    assert "Shadow of adding stopped" in page(client, PAGE)


def test_copies_pairs_and_the_report_are_shown(client: Client, store: redis.Redis) -> None:
    confirm(client, f"{PAGE}/new", version="2")
    made = client.get(PAGE).json
    assert made["share"] == 1, "an empty field uses the default"
    store.hset(keys.arms(made["id"]), mapping={"shadow.predicted": 7, "shadow.errors": 1, "shadow.shed": 2})
    stable, candidate = {"version": "1", "predictions": ["x"]}, {"version": "2", "predictions": ["y"]}
    pair = {"job_id": "a", "inputs": [1], "stable": stable, "candidate": candidate}
    store.xadd(keys.PAIRS, {"trial_id": made["id"], "pair": json.dumps(pair)})
    PairsDuty().read()
    shown = page(client, PAGE)
    assert "Copies predicted 7 1 failed" in shown
    assert "Copies shed 2" in shown
    assert "Copies lost 0 0 hosts died" in shown
    assert "Pairs 1 1 differ" in shown
    assert "Jobs compared 1" in shown


def test_what_the_form_can_not_start_is_shown_at_its_fields(client: Client) -> None:
    answer = confirm(client, f"{PAGE}/new", version="2", share="2")
    assert (answer.status_code, list(problems(answer))) == (422, ["share"])
    assert 'value="2"' in answer.text
    confirm(client, f"{PAGE}/new", version="2")
    answer = confirm(client, f"{PAGE}/new", version="2")
    assert answer.status_code == 409
    assert "has a shadow" in text_of(answer)
