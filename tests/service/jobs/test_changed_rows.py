"""A job's answer depends on that job alone, also where the model changes its rows and another client's row fails."""

from __future__ import annotations

from typing import Any

from tests.support.calls import expect
from tests.support.models import Scaled
from tests.support.service.stack import Stack

GOOD: dict[str, Any] = {"px": 255.0, "kind": "good"}


def test_jobs_beside_one_that_fails_are_answered_as_if_alone(service: Stack, name: str) -> None:
    version = service.register(name, Scaled(), GOOD)
    service.deploy(name, endpoint_name=name, max_batch_delay_ms=200)
    rows = [{"input": each} for each in (GOOD, GOOD, {**GOOD, "kind": "?"}, GOOD)]
    jobs = service.ended(expect(202, service.api.post(f"/predict/{name}/bulk", json=rows))["job_ids"])
    assert [job["outcome"]["prediction"] if job["status"] == "succeeded" else job["error"]["message"] for job in jobs] \
        == [1.0, 1.0, "ValueError: unknown kind", 1.0]  # fmt: skip
    assert version["input_example"] == GOOD
