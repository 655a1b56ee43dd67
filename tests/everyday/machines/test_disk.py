"""The guide of disk, as it stands, beside a running service: versions are deleted, and the artifact store shrinks."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from pathlib import Path

import pytest

from api.client import AsyncClient, Client
from api.client.errors import NotFound
from tests.everyday.conftest import Follow
from tests.support.calls import Document
from tests.support.service.stack import Stack


@pytest.fixture
def second_version(service: Stack) -> Document:
    """Version 2 of an example, which nobody serves, as the guide has it; its artifact is 2,000 bytes."""
    return service.register("quadratic_predictor", b"#" * 2_000)


def wait_an_hour(service: Stack) -> None:
    """Let everything in the store be two hours old, and deletions too."""
    data = Path(service.env["QUEUECAST_DATA_DIR"])
    for path in (data / "artifacts").rglob("*"):
        os.utime(path, (time.time() - 7_200,) * 2)
    with sqlite3.connect(data / "registry.db", timeout=10) as database:
        database.execute("UPDATE model_versions SET deleted_at = datetime('now', '-2 hours') WHERE deleted_at NOT NULL")


def test_versions_are_deleted_and_the_store_shrinks(service: Stack, follow: Follow, second_version: Document) -> None:
    store = Path(service.env["QUEUECAST_DATA_DIR"]) / "artifacts"
    place = next(store.rglob(second_version["artifact_sha256"]))
    said = follow("disk.md", "delete a version")
    assert "Deleted quadratic_predictor version 2." in said
    said = follow("disk.md", "prune the artifacts")
    assert "Nothing to delete." in said
    assert "1 file (2.0 KiB) that nothing needs" in said
    assert place.exists()
    wait_an_hour(service)
    said = follow("disk.md", "prune the artifacts")
    assert "version deleted: quadratic_predictor 2" in said
    assert "Would delete 1 file, 2.0 KiB." in said
    assert "\nDeleted 1 file, 2.0 KiB." in said
    assert not place.exists()
    assert service.run("-m", "registry.checking").stdout.strip().endswith("artifacts are intact.")


def test_programs_delete_and_prune_too(service: Stack) -> None:
    with Client(service.url) as client:
        added = client.register("from_a_program", b"#" * 100, runtime="python", input_example=1.0)
        client.delete_version("from_a_program", added.version)
        with pytest.raises(NotFound):
            client.delete_version("from_a_program", added.version)
        wait_an_hour(service)
        planned = client.prune_artifacts(dry_run=True)
    assert "from_a_program 1" in [name for each in planned["deleted"] for name in each["versions"]]

    async def prune() -> Document:
        async with AsyncClient(service.url) as client:
            return await client.prune_artifacts()

    assert asyncio.run(prune())["deleted"] == planned["deleted"]


def test_a_version_that_is_served_is_not_deleted_and_the_endpoint_is_named(service: Stack) -> None:
    service.deploy("quadratic_predictor", endpoint_name="kept", version="1")
    refused = service.queuecast("models", "delete", "quadratic_predictor", "1", check=False)
    assert refused.returncode == 1
    assert "kept" in refused.stderr
    assert "version_in_use" in refused.stderr


def test_the_workers_copies_are_where_the_guide_looks(service: Stack, follow: Follow) -> None:
    service.deploy("binary_classifier", endpoint_name="copied", version="1")
    assert "artifact-cache" in follow("disk.md", "look at the copies")
