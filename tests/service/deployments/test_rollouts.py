"""Whole rollouts: a candidate that fails is aborted by itself, a good one is promoted, and no caller sees any of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.models import Echo, Faulty
from tests.support.service.processes import Child
from tests.support.service.stack import Stack

#: No rollout here needs more.
MOST_JOBS = 10_000
#: The echoes of two versions differ on purpose, and a busy machine is no reason to abort.
RULES = {"disagreement": None, "latency_p95": None}


@pytest.fixture(scope="module")
def background(service: Stack) -> Iterator[Child]:
    started = service.start_background()
    yield started
    started.stop()


def rolled_out(
    service: Stack,
    name: str,
    candidate: Echo,
    steps: list[float],
    step_s: float,
    rules: Mapping[str, float | None] = RULES,
) -> dict[str, Any]:
    """Roll a candidate out, and submit jobs until it is over; each has the right outcome of one version."""
    service.register(name, Echo("1"))
    service.register(name, candidate)
    service.deploy(name, version="1", endpoint_name=name)
    path = f"/deployments/{name}/rollout"
    plan = {"version": "2", "steps": steps, "min_jobs": 20, "step_s": step_s, "rules": rules}
    assert service.api.post(path, json=plan).status_code == 202
    found: dict[str, Any] = {}
    for start in range(0, MOST_JOBS, 20):
        rows = [f"row {number}" for number in range(start, start + 20)]
        outcomes = service.outcomes(service.submit_all(name, rows))
        assert [each["prediction"] for each in outcomes] == [
            [each["version"], row] for each, row in zip(outcomes, rows, strict=True)
        ]
        found = service.api.get(path).json()
        if found["state"] in ("promoted", "aborted", "paused"):
            break
    return found


@pytest.mark.usefixtures("background")
def test_a_candidate_that_raises_on_some_inputs_is_aborted_and_no_caller_sees_an_error(
    service: Stack, name: str
) -> None:
    found = rolled_out(service, name, Faulty("2", "raise"), [50, 100], 60.0)
    assert found["state"] == "aborted", found
    assert "jobs failed on the candidate" in found["reason"]
    assert service.view(name)["version"] == "1"


@pytest.mark.usefixtures("background")
def test_a_candidate_that_answers_otherwise_is_aborted(service: Stack, name: str) -> None:
    found = rolled_out(service, name, Echo("2"), [50, 100], 60.0, {"latency_p95": None})
    assert found["state"] == "aborted", found
    assert "of them differently" in found["reason"]
    assert service.view(name)["version"] == "1"


@pytest.mark.usefixtures("background")
def test_a_good_candidate_is_promoted_and_no_job_is_lost(service: Stack, name: str) -> None:
    found = rolled_out(service, name, Echo("2"), [50, 100], 1.0)
    assert found["state"] == "promoted", found
    assert service.view(name)["version"] == "2"
    assert service.predict(name, "row")["prediction"] == ["2", "row"]
