"""Evaluations over HTTP: what is refused before anything begins."""

from __future__ import annotations

from typing import Any

import pytest

from registry.artifacts.store import ArtifactStore
from registry.database import default_database
from registry.settings import load as registry_settings
from tests.api.conftest import Client, View, register

WANTED: dict[str, Any] = {"endpoint_name": "adding", "version": "2"}


@pytest.fixture(autouse=True)
def _second_version(adding: View) -> None:
    with default_database().session() as session:
        register(session, ArtifactStore(registry_settings().artifacts_url))
        session.commit()


def test_an_endpoint_whose_journal_has_hashes_for_inputs_needs_a_dataset(client: Client) -> None:
    settings = {"journal": 1, "journal_exclude": ["0"]}
    assert client.patch("/deployments/adding", json=settings).status_code in (200, 202)
    answer = client.post("/evaluations", json=WANTED)
    assert (answer.status_code, answer.json["code"]) == (409, "evaluation_refused")
    assert "journal_exclude" in answer.json["detail"]
    assert client.post("/evaluations", json={**WANTED, "dataset": [{"input": [1.0, 2.0]}]}).status_code == 201


def test_without_jobs_in_the_journal_nothing_begins(client: Client) -> None:
    answer = client.post("/evaluations", json=WANTED)
    assert (answer.status_code, answer.json["code"]) == (409, "evaluation_refused")
    assert client.get("/evaluations").json["evaluations"] == []
