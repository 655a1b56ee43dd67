"""A registry or an artifact store that is away or damaged: what runs goes on, what can't be done says why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.conftest import FAST
from tests.support.models import Echo
from tests.support.postgres import PostgresCluster
from tests.support.stack import Stack
from tests.support.waiting import eventually


@pytest.fixture
def on_postgresql(tmp_path: Path, postgres_cluster: PostgresCluster, postgres_url: str) -> Iterator[Stack]:
    with Stack(tmp_path / "stack", database_url=postgres_url, env=FAST) as running:
        yield running


@pytest.mark.postgres
def test_running_deployments_go_on_while_the_registry_is_away(
    on_postgresql: Stack, postgres_cluster: PostgresCluster
) -> None:
    stack = on_postgresql
    stack.register("echo", Echo("m"))
    stack.start_worker()
    stack.deploy("echo", endpoint_name="echo")
    assert stack.predict("echo", "before")["prediction"] == ["m", "before"]
    postgres_cluster.crash()
    try:
        eventually(lambda: httpx.get(f"{stack.url}/health/ready").status_code == 503, message="the API sees it")
        for number in range(5):
            assert stack.predict("echo", str(number))["prediction"] == ["m", str(number)]
        refused = stack.api.post("/deployments/deploy", json={"model_name": "echo"})
        assert refused.status_code == 503
        assert refused.json()["code"] == "registry_unavailable"
    finally:
        postgres_cluster.resume()
    stack.wait_for_status("echo", "active")
    stack.deploy("echo", endpoint_name="another")
    assert stack.predict("another", "after")["prediction"] == ["m", "after"]


def damage(stack: Stack, sha256: str) -> None:
    """Change a byte of an artifact, in the store and in every cache."""
    for path in (stack.folder / "data").rglob(sha256):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)


def test_a_damaged_artifact_fails_its_deploy_and_the_running_version_stays(service: Stack, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    damaged = service.register(name, Echo("2"))
    damage(service, damaged["artifact_sha256"])
    answer = service.api.post(
        "/deployments/deploy", json={"model_name": name, "endpoint_name": name}, headers={"Prefer": "wait=30"}
    )
    assert answer.status_code == 409
    assert damaged["artifact_sha256"] in answer.json()["detail"]
    assert "damaged" in answer.json()["detail"]
    assert service.predict(name, "x")["prediction"] == ["1", "x"]


def test_an_artifact_store_that_is_gone_fails_the_deploy_and_the_running_version_stays(
    service: Stack, name: str
) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    service.register(name, Echo("2"))
    store = service.folder / "data" / "artifacts"
    away = store.rename(store.with_name("away"))
    try:
        answer = service.api.post(
            "/deployments/deploy", json={"model_name": name, "endpoint_name": name}, headers={"Prefer": "wait=30"}
        )
        assert answer.status_code == 409
        assert "artifact" in answer.json()["detail"].lower()
        assert service.predict(name, "x")["prediction"] == ["1", "x"]
    finally:
        away.rename(store)
    # It is tried again by itself.
    eventually(lambda: service.predict(name, "x")["prediction"] == ["2", "x"], 30, message="the new version serves")
