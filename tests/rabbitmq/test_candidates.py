"""A candidate beside the version that serves, with jobs in RabbitMQ."""

from __future__ import annotations

import pytest

from tests.support.service import trials
from tests.support.service.stack import Stack


@pytest.mark.parametrize("fault", trials.FAULTS)
def test_no_caller_sees_a_candidate_that_fails(service: Stack, name: str, fault: str) -> None:
    trials.check_every_job_has_its_one_right_outcome(service, name, fault)
