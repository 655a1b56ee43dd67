"""A candidate beside the version that serves, with jobs in RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.models import Echo
from tests.support.service import trials, ways_in
from tests.support.service.stack import Stack


@pytest.mark.parametrize("fault", trials.FAULTS)
def test_no_caller_sees_a_candidate_that_fails(service: Stack, name: str, fault: str) -> None:
    trials.check_every_job_has_its_one_right_outcome(service, name, fault)


@pytest.fixture(scope="module")
def two_versions(service: Stack) -> str:
    """An endpoint whose jobs are dealt to two versions alike."""
    for mark in "12":
        service.register("dealt", Echo(mark))
    service.deploy("dealt", version="1", endpoint_name="dealt")
    trials.place(service, "dealt", weight=0.5, shadow_share=0.0)
    return "dealt"


@pytest.mark.parametrize("way", ways_in.WAYS)
def test_each_job_is_answered_by_the_version_of_its_sticky_key_or_else_of_its_id(
    service: Stack, two_versions: str, way: str
) -> None:
    ways_in.check_dealing(service, two_versions, 0.5, way)


@pytest.fixture(scope="module")
def background(service: Stack) -> Iterator[None]:
    started = service.start_background()
    yield
    started.stop()


@pytest.mark.long
@pytest.mark.usefixtures("background")
@pytest.mark.parametrize("what", trials.BAD_CANDIDATES)
def test_a_candidate_that_fails_is_aborted_and_no_caller_sees_it(service: Stack, name: str, what: str) -> None:
    trials.check_a_bad_candidate_is_aborted(service, name, trials.BAD_CANDIDATES[what])


@pytest.mark.long
@pytest.mark.usefixtures("background")
def test_a_good_candidate_is_promoted_and_no_job_is_lost(service: Stack, name: str) -> None:
    trials.check_a_good_candidate_is_promoted(service, name)
