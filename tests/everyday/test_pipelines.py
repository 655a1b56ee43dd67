"""Models one after the other as one job, as docs/guides/pipelines.md says."""

from __future__ import annotations

import json

import pytest

from tests.everyday.conftest import Follow
from tests.support.documentation import documented_program
from tests.support.service.stack import Stack

PAGE = "guides/pipelines.md"
ENDPOINT = "quadratic_predictor-v1"


def test_a_pipeline_is_submitted_watched_and_run_again(service: Stack, follow: Follow) -> None:
    follow(PAGE, "deploy")
    once = service.outcomes([service.submit(ENDPOINT, 2.5)])[0]["prediction"]
    twice = service.outcomes([service.submit(ENDPOINT, once)])[0]["prediction"]
    assert float(follow(PAGE, "submit").splitlines()[0]) == pytest.approx(twice)
    assert json.loads(follow(PAGE, "over http"))["prediction"] == pytest.approx(twice)
    shown = service.run("-c", documented_program(PAGE)).stdout.splitlines()
    assert float(shown[0]) == pytest.approx(twice)
    assert [line.split()[:2] for line in shown[1:]] == [[ENDPOINT, "succeeded"]] * 2
    said = follow(PAGE, "run again")
    assert "exit code 1: a step has failed" in said
    again = service.job(next(line for line in said.splitlines() if line.count("-") == 4 and " " not in line))
    assert again["status"] == "succeeded"
    assert again["outcome"]["prediction"] is not None
