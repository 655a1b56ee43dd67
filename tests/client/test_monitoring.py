"""Quality and drift with both clients, and as commands."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.cli.fake_service import FakeService

MEASURES: dict[str, Any] = {
    "model_name": "iris", "version": "2", "job_count": 7, "row_count": 7, "failed_count": 0,
    "not_comparable_count": 0, "accuracy": 0.8571428, "mae": None, "rmse": None,
}  # fmt: skip
QUALITY: dict[str, Any] = {
    "endpoint_name": "iris", "since": "2026-11-01T00:00:00+00:00", "until": None,
    "versions": [MEASURES], "days": [{"day": "2026-11-27", **MEASURES}],
}  # fmt: skip
DRIFT: dict[str, Any] = {
    "endpoint_name": "iris", "model_name": "iris", "version": "2", "reason": None,
    "computed_at": "2026-11-27T12:00:00+00:00", "job_count": 5000, "highest": 0.3142, "history": [None, 0.3142],
    "reference": {"job_count": 1000, "first_at": "2026-11-01T00:00:00+00:00", "last_at": "2026-11-02T00:00:00+00:00"},
    "fields": [
        {"field": "input.0", "index": 0.3142, "noise": 0.0108},
        {"field": "output", "index": None, "noise": None},
    ],
}  # fmt: skip


def test_quality_is_asked_for_a_time(service: FakeService, client: Any) -> None:
    service.on("GET", "/deployments/iris/quality", QUALITY)
    found = client.quality("iris", since="7d", until=datetime(2026, 11, 28, tzinfo=UTC))
    assert (found.versions[0]["accuracy"], found.days[0]["day"]) == (0.8571428, "2026-11-27")
    assert service.received[0].query["since"] == "7d"
    assert datetime.fromisoformat(service.received[0].query["until"]) == datetime(2026, 11, 28, tzinfo=UTC)


def test_drift_has_its_reference_and_its_fields(service: FakeService, client: Any) -> None:
    service.on("GET", "/deployments/iris/drift", DRIFT)
    found = client.drift("iris")
    assert (found.highest, found.fields[0]["field"], found.history) == (0.3142, "input.0", [None, 0.3142])
    assert found.reference["job_count"] == 1000
