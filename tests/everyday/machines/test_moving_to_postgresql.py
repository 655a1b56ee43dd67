"""The guide from SQLite to PostgreSQL, as it stands: the service stops, its registry moves, and it serves on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.everyday.conftest import run_block
from tests.support.servers.postgres import PostgresCluster
from tests.support.service.stack import Stack

PAGE = "moving-to-postgresql.md"


@pytest.mark.timeout(300)
@pytest.mark.postgres
def test_the_registry_moves_and_the_service_goes_on(postgres_cluster: PostgresCluster, tmp_path: Path) -> None:
    url = postgres_cluster.create_database()
    # A service of its own: its API stops, and its registry moves away.
    with Stack(tmp_path) as service:
        service.register_examples()
        worker = service.start_worker()
        for name in ("quadratic_predictor", "binary_classifier"):
            service.deploy(name)
        queued = service.submit("quadratic_predictor-v1", 2.5)
        key = service.queuecast("keys", "create", "shop").stdout.strip()

        service.server.stop()
        copied = run_block(service, tmp_path, PAGE, "copy the registry", NEW_URL=url)
        assert ["model_versions", "3"] in [line.split() for line in copied.splitlines()]
        assert "each was compared" in copied
        checked = run_block(service, tmp_path, PAGE, "check the new database", NEW_URL=url)
        assert "3 of 3 artifacts are intact." in checked

        worker.stop()
        service.env["DATABASE_URL"] = url
        put_away(Path(service.env["QUEUECAST_DATA_DIR"]) / "registry.db")
        service.start_server()
        service.start_worker("another")
        service.wait_for_status("quadratic_predictor-v1", "active")
        seen = run_block(service, tmp_path, PAGE, "look at the result")
        assert "binary_classifier-v1" in seen
        assert "0.68" in seen
        assert service.job(queued)["status"] == "succeeded"
        shown = service.api.get("/jobs", headers={"Authorization": f"Bearer {key}"})
        assert shown.status_code == 200
        # New versions are numbered after those that came along.
        assert service.register("quadratic_predictor", object)["version"] == "2"


def put_away(registry: Path) -> None:
    for path in registry.parent.glob("registry.db*"):
        path.rename(path.with_name(f"{path.name}.moved"))
