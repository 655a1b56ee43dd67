"""The page of a rollout in the console, and what a caller can do there after a confirmation."""

from __future__ import annotations

import pytest

from registry.database import default_database
from registry.judging import rollouts
from tests.api.conftest import Client
from tests.api.console.pages import fields, page, text_of

PAGE = "/console/deployments/adding/rollout"


@pytest.fixture(autouse=True)
def _rollout(client: Client) -> None:
    """A rollout of version 2 in its first step."""
    client.register()
    client.register()
    client.deploy(version="1")
    assert client.post("/deployments/adding/rollout", json={"version": "2"}).status_code == 202
    with default_database().session() as session:
        rollouts.begin(session, rollouts.latest(session, "adding"), {})
        session.commit()


def test_the_page_shows_both_versions_rules_and_history(client: Client) -> None:
    shown = page(client, "/deployments/adding/rollout")
    assert "version 1 99 %" in shown
    assert "version 2 1 %" in shown
    assert "errors kept" in shown
    assert "step to 1 %" in shown
    assert "0 of 200 jobs in this step" in shown
    assert "rollouts" in page(client, "/deployments/adding")


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


def test_what_the_state_does_not_allow_is_refused_on_the_page(client: Client) -> None:
    asked = client.get(f"{PAGE}/resume")
    answer = client.post(f"{PAGE}/resume", data=fields(asked))
    assert answer.status_code == 409
    assert "is running: it can't resume now" in text_of(answer)
    assert client.get(f"{PAGE}/dance").status_code == 404
