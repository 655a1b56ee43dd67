"""Whole rollouts: a candidate that fails is aborted by itself, a good one is promoted, and no caller sees any of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import redis

from tests.support.models import Echo
from tests.support.service import trials
from tests.support.service.processes import Child
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys
from workers.platform.release import release

CANDIDATES = trials.BAD_CANDIDATES


@pytest.fixture(scope="module")
def background(service: Stack) -> Iterator[Child]:
    started = service.start_background()
    yield started
    started.stop()


@pytest.mark.usefixtures("background")
@pytest.mark.parametrize(
    "what", [pytest.param(each, marks=pytest.mark.long if number else ()) for number, each in enumerate(CANDIDATES)]
)
def test_a_candidate_that_fails_is_aborted_and_no_caller_sees_it(service: Stack, name: str, what: str) -> None:
    trials.check_a_bad_candidate_is_aborted(service, name, CANDIDATES[what])


@pytest.mark.usefixtures("background")
def test_a_candidate_that_answers_otherwise_is_aborted(service: Stack, name: str) -> None:
    found = trials.rolled_out(service, name, Echo("2"), [50, 100], 60.0, {"latency_p95": None})
    assert found["state"] == "aborted", found
    assert "of them differently" in found["reason"]
    assert service.view(name)["version"] == "1"


@pytest.mark.usefixtures("background")
def test_a_good_candidate_is_promoted_and_no_job_is_lost(service: Stack, name: str) -> None:
    trials.check_a_good_candidate_is_promoted(service, name)


def test_workers_report_their_release_by_which_a_rollout_knows_that_they_serve_candidates(service: Stack) -> None:
    with redis.Redis.from_url(service.redis.url) as records:
        found = eventually(lambda: records.hvals(keys.REPORTS), 20, message="the worker has written a report")
    assert {json.loads(each)["release"] for each in found or ()} == {release()}
