"""A candidate beside the version that serves, with jobs in RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.models import Echo, Faulty
from tests.support.service import trials
from tests.support.service.stack import Stack


@pytest.mark.parametrize("fault", trials.FAULTS)
def test_no_caller_sees_a_candidate_that_fails(service: Stack, name: str, fault: str) -> None:
    trials.check_every_job_has_its_one_right_outcome(service, name, fault)


@pytest.fixture(scope="module")
def background(service: Stack) -> Iterator[None]:
    started = service.start_background()
    yield
    started.stop()


@pytest.mark.long
@pytest.mark.usefixtures("background")
def test_a_candidate_that_raises_on_some_inputs_is_aborted_and_no_caller_sees_an_error(
    service: Stack, name: str
) -> None:
    found = trials.rolled_out(service, name, Faulty("2", "raise"), [50, 100], 60.0)
    assert found["state"] == "aborted", found
    assert "jobs failed on the candidate" in found["reason"]
    assert service.view(name)["version"] == "1"


@pytest.mark.long
@pytest.mark.usefixtures("background")
def test_a_candidate_that_kills_its_host_is_aborted_at_once(service: Stack, name: str) -> None:
    found = trials.rolled_out(service, name, Faulty("2", "kill"), [50, 100], 60.0)
    assert found["state"] == "aborted", found
    assert "The candidate has lost" in found["reason"]
    assert service.view(name)["version"] == "1"


@pytest.mark.long
@pytest.mark.usefixtures("background")
def test_a_good_candidate_is_promoted_and_no_job_is_lost(service: Stack, name: str) -> None:
    found = trials.rolled_out(service, name, Echo("2"), [50, 100], 1.0)
    assert found["state"] == "promoted", found
    assert service.view(name)["version"] == "2"
    assert service.predict(name, "row")["prediction"] == ["2", "row"]
