"""Drift against the version's first jobs: by the duty of the background process, over HTTP, in metrics and console."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Client
from tests.api.console.pages import page
from tests.api.monitoring.conftest import Keep
from tests.support.metrics import Scrape
from workers.journal import forgetting, moving
from workers.journal.files.writer import writing
from workers.journal.forgetting import Which
from workers.judging.monitoring.drift_duty import DriftDuty
from workers.judging.monitoring.results import DRIFT

Compute = Callable[[], dict[str, Any]]


@pytest.fixture
def compute(client: Client, keep: Keep) -> Compute:
    """Lets the duty compute once; returns what the API shows then."""
    client.deploy("adding", journal=1.0)

    def computed() -> dict[str, Any]:
        DriftDuty().compute(threading.Event())
        answer = client.get("/deployments/adding/drift")
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    return computed


def keep_some(keep: Keep, name: str, count: int, *, moved_by: float = 0.0, version: str = "1") -> None:
    """Jobs whose inputs are spread from 0 to 1, in a mixed order."""
    values = [(number * 37 % 100) / 100 + moved_by for number in range(count)]
    ids = [f"{name}-{number}" for number in range(count)]
    inputs = [{"x": value, "town": "Ulm"} for value in values]
    keep(ids, ["low" if value < 0.5 else "high" for value in values], inputs, version=version)


def test_drift_is_that_of_the_last_day_against_the_first_jobs(
    client: Client, keep: Keep, compute: Compute, data_dir: Path
) -> None:
    assert "no background process" in client.get("/deployments/adding/drift").json["reason"].lower()
    keep_some(keep, "first", 999)
    keep_some(keep, "other", 300, moved_by=9.0, version="2")
    found = compute()
    assert found["reference"] is None
    assert "there are 999" in found["reason"]
    keep_some(keep, "last", 1)
    with writing() as writer:
        moving.move_all(writer)
    assert "Too few jobs" in compute()["reason"]
    [file] = (data_dir / "artifacts").glob("drift/endpoint_name=adding/version=1.json")
    assert json.loads(file.read_bytes())["jobs"] == 1_000
    assert "Ulm" not in file.read_text()

    keep_some(keep, "same", 1_000)
    found = compute()
    assert found["reference"]["job_count"] == 1_000
    assert found["job_count"] == 1_000
    assert {each["field"]: each["index"] for each in found["fields"]} == {
        "input.x": pytest.approx(0.0, abs=0.02), "output": pytest.approx(0.0, abs=0.02), "input.town": None,
    }  # fmt: skip
    keep_some(keep, "moved", 1_000, moved_by=0.5)
    found = compute()
    assert found["highest"] == found["fields"][0]["index"] > 0.25
    assert found["history"][:2] == [None, None]
    assert len(found["history"]) == 4

    scrape = Scrape(client.get("/metrics").text)
    assert scrape.value("queuecast_drift", endpoint="adding", field=found["fields"][0]["field"]) == found["highest"]
    shown = page(client, "/deployments/adding")
    assert "2 000 jobs of the last 24 hours against the version's first 1 000" in shown.replace("\u202f", " ")
    assert f"{found['fields'][0]['field']} {found['highest']:.4g}" in shown


def test_a_deployment_without_a_journal_has_no_drift(client: Client, keep: Keep, compute: Compute) -> None:
    compute()
    client.deploy("adding", journal=0.0)
    assert "keeps no jobs" in compute()["reason"]
    assert DRIFT.read_all() == {}
    assert client.get("/deployments/nothing/drift").status_code == 404


def test_references_go_with_their_versions_and_with_the_journal_of_endpoints_that_are_gone(
    client: Client, keep: Keep, compute: Compute, data_dir: Path
) -> None:
    def kept() -> list[str]:
        return sorted(path.stem for path in (data_dir / "artifacts" / "drift").rglob("*.json"))

    client.register(version="2")
    for version in ("1", "2"):
        client.deploy("adding", version=version)
        keep_some(keep, f"of-{version}", 1_000, version=version)
        compute()
    with writing() as writer:
        moving.move_all(writer)
    assert kept() == ["version=1", "version=2"], "that of an earlier version stays, for a rollback"
    assert client.delete("/models/adder/versions/1").status_code == 204
    DriftDuty().compute(threading.Event())
    assert kept() == ["version=2"]
    client.post("/deployments/undeploy", json={"endpoint_name": "adding"})
    DriftDuty().compute(threading.Event())
    assert kept() == ["version=2"], "the journal still has its jobs"
    forgetting.forget(Which("adding", before=time.time() + 60))
    DriftDuty().compute(threading.Event())
    assert kept() == []
