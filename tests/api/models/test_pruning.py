"""Artifacts that nothing needs are deleted over HTTP and in the console, by admins; what workers have stays."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from registry.artifacts.store import ArtifactStore
from registry.database import default_database
from registry.database.tables import VersionRow
from registry.settings import load as registry_settings
from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker


@pytest.fixture
def store(client: Client) -> ArtifactStore:
    return ArtifactStore(registry_settings().artifacts_url)


@pytest.fixture
def gone(client: Client, store: ArtifactStore) -> View:
    """A version that was deleted two hours ago, beside one that stays."""
    client.register(artifact=b"kept, as it is")
    return deleted(client, store, client.register(artifact=b"of a deleted version"))


def deleted(client: Client, store: ArtifactStore, version: View) -> View:
    address = f"/models/{version['model_name']}/versions/{version['version']}"
    assert client.delete(address).status_code == 204
    with default_database().session() as session:
        session.execute(
            update(VersionRow)
            .where(VersionRow.deleted_at.is_not(None))
            .values(deleted_at=datetime.now(UTC) - timedelta(hours=2))
        )
        session.commit()
    for path in Path(store.url).rglob("*"):
        os.utime(path, (time.time() - 7_200,) * 2)
    return version


def test_the_artifact_of_a_deleted_version_goes_and_the_answer_says_what_went(
    client: Client, store: ArtifactStore, gone: View
) -> None:
    planned = client.post("/artifacts/prune", json={"dry_run": True}).json
    went = {
        "sha256": gone["artifact_sha256"], "size_bytes": 20, "reason": "deleted_version", "versions": ["adder 2"],
    }  # fmt: skip
    assert planned == {
        "dry_run": True, "deleted": [went], "deleted_bytes": 20, "too_young": [], "too_young_bytes": 0,
        "deleted_environments": [], "needed_count": 1, "needed_bytes": 14, "is_complete": True,
    }  # fmt: skip
    assert store.exists(gone["artifact_sha256"])
    assert client.post("/artifacts/prune", json={}).json == {**planned, "dry_run": False}
    assert not store.exists(gone["artifact_sha256"])
    assert client.post("/artifacts/prune", json={}).json["deleted"] == []


def test_what_is_recent_stays_unless_the_grace_is_shorter(client: Client, store: ArtifactStore) -> None:
    client.register()
    store.put(b"not registered yet")
    found = client.post("/artifacts/prune", json={}).json
    assert (found["deleted"], found["too_young_bytes"]) == ([], 18)
    assert client.post("/artifacts/prune", json={"grace_s": 0}).json["deleted_bytes"] == 18


def test_what_a_worker_still_has_stays(client: Client, store: ArtifactStore, worker: StandInWorker) -> None:
    version = client.register(artifact=b"winding down")
    client.register()
    worker.report(client.deploy(version="1"))
    second = client.deploy(version="2")
    deleted(client, store, version)
    assert client.post("/artifacts/prune", json={}).json["deleted"] == []
    worker.report(second)
    assert client.post("/artifacts/prune", json={}).json["deleted_bytes"] == 12


def test_what_an_endpoint_still_drains_with_stays(client: Client, store: ArtifactStore) -> None:
    version = client.register(artifact=b"winding down")
    client.deploy()
    client.submit()
    assert client.post("/deployments/undeploy", json={"endpoint_name": "adding"}).status_code == 202
    deleted(client, store, version)
    assert client.post("/artifacts/prune", json={}).json["needed_count"] == 1


def test_a_request_without_a_body_deletes_nothing(client: Client, store: ArtifactStore, gone: View) -> None:
    assert client.post("/artifacts/prune").status_code == 400
    assert store.exists(gone["artifact_sha256"])


def test_an_empty_registry_refuses(client: Client) -> None:
    refused = client.post("/artifacts/prune", json={})
    assert (refused.status_code, refused.json["code"]) == (409, "prune_refused")


@pytest.mark.parametrize("wanted", [{"grace_s": -1}, {"grace_s": "long"}, {"dry": True}])
def test_what_can_not_be_asked_is_refused(client: Client, wanted: dict[str, Any]) -> None:
    assert client.post("/artifacts/prune", json=wanted).status_code == 422


def test_the_console_shows_what_would_go_and_deletes_it(client: Client, store: ArtifactStore, gone: View) -> None:
    assert "/console/artifacts/prune" in client.get("/console/models").text
    page = client.get("/console/artifacts/prune").text
    assert "Delete 1 file, 20 B?" in page
    assert "adder 2" in page
    [mark] = re.findall(r'name="form_mark" value="(\w+)"', page)
    assert "1 file deleted" in client.post("/console/artifacts/prune", data={"form_mark": mark}).text
    assert not store.exists(gone["artifact_sha256"])
    assert "Nothing to delete" in client.get("/console/artifacts/prune").text
