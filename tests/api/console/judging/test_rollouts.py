"""The page of a rollout in the console, and what a caller can do there after a confirmation."""

from __future__ import annotations

import json

import pytest

from registry.database import default_database
from registry.judging import rollouts
from tests.api.conftest import Client
from tests.api.console.pages import confirm, fields, page, problems, text_of
from workers import keys
from workers.judging.pairs_duty import PairsDuty
from workers.platform.redis.client import records_client

PAGE = "/console/deployments/adding/rollout"


@pytest.fixture
def deployed(client: Client) -> None:
    """An endpoint that serves the first of two versions."""
    client.register()
    client.register()
    client.deploy(version="1")


@pytest.fixture
def rollout(client: Client, deployed: None) -> None:
    """A rollout of version 2 in its first step."""
    assert client.post("/deployments/adding/rollout", json={"version": "2"}).status_code == 202
    with default_database().session() as session:
        rollouts.begin(session, rollouts.latest(session, "adding"), {})
        session.commit()


@pytest.mark.usefixtures("rollout")
def test_the_page_shows_both_versions_rules_and_history(client: Client) -> None:
    shown = page(client, "/deployments/adding/rollout")
    assert "version 2: 1 %" in shown
    assert "version 1 99 %" in shown
    assert "version 2 1 %" in shown
    assert "errors kept" in shown
    assert "step to 1 %" in shown
    assert "0 of 200 jobs in this step" in shown
    assert "rollouts" in page(client, "/deployments/adding")


@pytest.mark.usefixtures("rollout")
@pytest.mark.parametrize(("transition", "state"), [("pause", "paused"), ("promote", "promoted"), ("abort", "aborted")])
def test_a_button_leads_to_a_confirmation_that_makes_the_transition(
    client: Client, transition: str, state: str
) -> None:
    asked = client.get(f"{PAGE}/{transition}")
    assert f"{transition.capitalize()} the rollout of adding?" in text_of(asked)
    assert client.get("/deployments/adding/rollout").json["state"] == "running"
    answer = client.post(f"{PAGE}/{transition}", data={**fields(asked), "reason": "Because."})
    assert (answer.status_code, answer.headers["Location"]) == (303, PAGE)
    found = client.get("/deployments/adding/rollout").json
    assert (found["state"], found["reason"]) == (state, "Because.")
    assert "Because." in page(client, "/deployments/adding/rollout")


@pytest.mark.usefixtures("rollout")
def test_what_the_state_does_not_allow_is_refused_on_the_page(client: Client) -> None:
    asked = client.get(f"{PAGE}/resume")
    answer = client.post(f"{PAGE}/resume", data=fields(asked))
    assert answer.status_code == 409
    assert "is running: it can't resume now" in text_of(answer)
    assert client.get(f"{PAGE}/dance").status_code == 404


@pytest.mark.usefixtures("rollout")
def test_the_page_shows_how_answers_to_the_same_jobs_compare(client: Client) -> None:
    stable, candidate = {"version": "1", "predictions": ["x"]}, {"version": "2", "predictions": ["y"]}
    pair = {"job_id": "a", "inputs": [1], "stable": stable, "candidate": candidate}
    found = client.get("/deployments/adding/rollout").json
    records_client().xadd(keys.PAIRS, {"trial_id": found["id"], "pair": json.dumps(pair)})
    PairsDuty().read()
    shown = page(client, "/deployments/adding/rollout")
    assert "Answers to the same jobs" in shown
    assert "Jobs compared 1" in shown


@pytest.mark.usefixtures("deployed")
def test_a_form_starts_a_rollout_with_defaults(client: Client) -> None:
    assert "Roll out…" in page(client, "/deployments/adding")
    answer = confirm(client, "/deployments/adding/rollout/new", version="2", start="")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{PAGE}?done=rollout")
    found = client.get("/deployments/adding/rollout").json
    assert (found["state"], found["steps"], found["min_jobs"]) == ("loading", [1, 10, 50, 100], 200)
    again = confirm(client, "/deployments/adding/rollout/new", version="2")
    assert again.status_code == 409
    assert "has a rollout" in text_of(again)


@pytest.mark.usefixtures("deployed")
def test_a_form_starts_a_rollout_with_its_own_steps_and_rules(client: Client) -> None:
    wanted = {"steps": "5 %, 100", "step_s": "60", "min_jobs": "50", "on_failure": "fail"}
    rules = {"rules.errors": "0.5", "rules.disagreement": "off"}
    confirm(client, "/deployments/adding/rollout/new", version="2", **wanted, **rules)
    found = client.get("/deployments/adding/rollout").json
    assert (found["steps"], found["step_s"], found["min_jobs"], found["on_failure"]) == ([5, 100], 60, 50, "fail")
    assert found["rules"] == {"errors": 0.5, "latency_p95": 1.5, "disagreement": None}


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("wanted", "status", "field"),
    [
        ({"steps": "10, 1"}, 422, "steps"),
        ({"steps": "1, many"}, 422, "steps"),
        ({"min_jobs": "few"}, 422, "min_jobs"),
        ({"version": "9"}, 404, "version"),
        ({"start": "evaluation"}, 409, ""),
    ],
)
def test_what_the_form_can_not_start_is_shown_at_its_field(
    client: Client, wanted: dict[str, str], status: int, field: str
) -> None:
    answer = confirm(client, "/deployments/adding/rollout/new", **{"version": "2", **wanted})
    assert (answer.status_code, list(problems(answer))) == (status, [field])
    assert client.get("/deployments/adding/rollout").status_code == 404


@pytest.mark.usefixtures("deployed")
def test_a_wrong_rule_opens_the_rules(client: Client) -> None:
    answer = confirm(client, "/deployments/adding/rollout/new", version="2", **{"rules.errors": "7"})
    assert answer.status_code == 422
    assert "<details open>" in answer.text
    assert 'id="problem-rules.errors"' in answer.text
