"""Evaluations in the console: begun from a deployment's page, listed, shown, cancelled."""

from __future__ import annotations

from tests.api.conftest import Client, View
from tests.api.console.pages import fields, page, text_of

NEW = "/console/evaluations/new"
DATASET = [{"input": 1.0}]


def begun(client: Client) -> str:
    body = {"endpoint_name": "adding", "version": "2", "dataset": DATASET}
    answer = client.post("/evaluations", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json["evaluation_id"])


def test_the_form_names_other_versions_and_says_what_is_missing(client: Client, adding: View) -> None:
    client.register(version="2")
    assert "Evaluate…" in page(client, "/deployments/adding")
    form = client.get(NEW, query_string={"endpoint_name": "adding"})
    assert "It serves version 1 meanwhile" in text_of(form)
    sent = {**fields(form), "version": "2", "margin": "much"}
    assert client.post(NEW, data=sent).status_code == 422
    answer = client.post(NEW, data={**sent, "margin": "0.05"})
    assert answer.status_code == 409
    assert "The journal has no jobs of adding" in text_of(answer)


def test_an_evaluation_is_listed_shown_and_cancelled(client: Client, adding: View) -> None:
    client.register(version="2")
    evaluation_id = begun(client)
    assert f"{evaluation_id} adding 2 against 1 waiting" in page(client, "/evaluations")
    shown = client.get(f"/console/evaluations/{evaluation_id}")
    assert "Version 2 on adding waiting" in text_of(shown)
    answer = client.post(f"/console/evaluations/{evaluation_id}/remove", data=fields(shown))
    assert answer.status_code == 303
    assert client.get(f"/evaluations/{evaluation_id}").json["state"] == "cancelled"
    assert "Version 2 on adding cancelled" in page(client, f"/evaluations/{evaluation_id}")


def test_an_evaluation_needs_exactly_one_source(client: Client, adding: View) -> None:
    client.register(version="2")
    body = {"endpoint_name": "adding", "version": "2"}
    both = client.post("/evaluations", json={**body, "dataset": DATASET, "since": "24h"})
    assert (both.status_code, both.json["code"]) == (422, "request_invalid")
    neither = client.post("/evaluations", json={**body, "dataset": [{}]})
    assert neither.status_code == 422
    assert client.get("/evaluations/unknown").json["code"] == "evaluation_not_found"
