"""A candidate beside the version that serves, whatever it does: no caller sees an error or a wrong answer."""

from __future__ import annotations

import pytest

from tests.service.conftest import StartWorker
from tests.support.service import trials
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.measures import arms


@pytest.mark.parametrize("fault", trials.FAULTS)
def test_no_caller_sees_a_candidate_that_fails(service: Stack, name: str, fault: str) -> None:
    trials.check_every_job_has_its_one_right_outcome(service, name, fault)


def test_a_shadow_predicts_copies_of_jobs_that_ended(service: Stack, name: str) -> None:
    trial_id = trials.start(service, name, "raise", weight=0.0, shadow_share=1.0)
    outcomes = service.outcomes(service.submit_all(name, [f"row {number}" for number in range(20)]))
    assert {outcome["version"] for outcome in outcomes} == {"1"}
    eventually(
        lambda: trials.figures(service, trial_id).shadow == {arms.COPIES_PREDICTED: 19, arms.COPIES_FAILED: 1},
        20,
    )


@pytest.mark.long
def test_jobs_of_both_arms_survive_the_kill_of_their_worker(
    service: Stack, name: str, group_worker: StartWorker
) -> None:
    first = group_worker("a", "default")
    trials.start(service, name, "slow")
    job_ids = service.submit_all(name, [f"row {number}" for number in range(trials.JOBS)])
    first.kill()
    outcomes = service.outcomes(job_ids)
    assert [outcome["prediction"][1] for outcome in outcomes] == [f"row {number}" for number in range(trials.JOBS)]
