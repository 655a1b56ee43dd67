"""`queuecast quality` and `queuecast drift`."""

from __future__ import annotations

from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService
from tests.client.test_monitoring import DRIFT, QUALITY


def test_quality_is_a_table_of_versions_and_days(service: FakeService, command: Command) -> None:
    service.on("GET", "/deployments/iris/quality", QUALITY)
    shown = command("quality", "iris", "--since", "7d").stdout.splitlines()
    assert [line.split() for line in shown] == [
        ["DAY", "VERSION", "FEEDBACK", "ACCURACY", "MAE", "RMSE"],
        ["all", "2", "7", "0.8571", "-", "-"],
        ["2026-11-27", "2", "7", "0.8571", "-", "-"],
    ]
    assert service.received[0].query == {"since": "7d"}


def test_an_endpoint_without_feedback_says_so(service: FakeService, command: Command) -> None:
    service.on("GET", "/deployments/iris/quality", {**QUALITY, "versions": [], "days": []})
    result = command("quality", "iris")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No job of iris has feedback" in result.stderr


def test_drift_is_a_table_of_fields(service: FakeService, command: Command) -> None:
    service.on("GET", "/deployments/iris/drift", DRIFT)
    shown = command("drift", "iris").stdout.splitlines()
    assert [line.split() for line in shown] == [
        ["FIELD", "INDEX", "NOISE"],
        ["input.0", "0.3142", "0.0108"],
        ["output", "-", "-"],
    ]


def test_an_endpoint_without_drift_says_why(service: FakeService, command: Command) -> None:
    service.on("GET", "/deployments/iris/drift", {**DRIFT, "fields": [], "reason": "The deployment keeps no jobs."})
    assert "keeps no jobs" in command("drift", "iris").stderr
