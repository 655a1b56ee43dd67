"""kill -9 in the middle of a shadow, or of a step: each job has its one right outcome, and is in the journal once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from api.client import Client
from tests.faults import audit
from tests.faults.conftest import LEASE_S
from tests.support.calls import expect
from tests.support.loads.load import Accepted, PatientLoad
from tests.support.models import Echo, Faulty
from tests.support.service import trials
from tests.support.service.processes import Child
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.measures import arms
from workers.queues import dealing

pytestmark = pytest.mark.long

#: A step that doesn't end, so that the candidate keeps its weight whatever happens.
WEIGHT = 0.5
ROLLOUT = {
    "version": "2", "steps": [100 * WEIGHT], "step_s": 3600,
    "rules": {"errors": None, "latency_p95": None, "disagreement": None},
}  # fmt: skip
#: One of a good candidate that ends by itself.
WHOLE_ROLLOUT = {
    "version": "2", "steps": [20, 50, 100], "min_jobs": 20, "step_s": 2,
    "rules": {"latency_p95": None, "disagreement": None},
}  # fmt: skip
SHADOW = {"version": "2", "share": 1.0}
RECOVERY_S = LEASE_S + 40
QUICK = {"QUEUECAST_JOURNAL_INTERVAL_S": "0.2"}
#: So long takes a row, that jobs wait and run when a process dies.
SECONDS = 0.03


Fault = Callable[[Stack, str, list[Child]], None]


def kill_worker(service: Stack, name: str, _: list[Child]) -> None:
    service.workers[-1].kill()
    service.start_worker(f"{name}c", group=name)


def kill_redis(service: Stack, _: str, __: list[Child]) -> None:
    assert service.redis.pid is not None
    os.kill(service.redis.pid, signal.SIGKILL)
    service.redis.stop()
    service.redis.start()


def kill_api_and_background(service: Stack, _: str, backgrounds: list[Child]) -> None:
    service.server.kill()
    backgrounds[-1].kill()
    service.start_server()
    backgrounds.append(service.start_background(QUICK))


@pytest.fixture(params=[kill_worker, kill_redis, kill_api_and_background])
def fault(request: pytest.FixtureRequest) -> Fault:
    found: Fault = request.param
    return found


@pytest.fixture
def backgrounds(service: Stack) -> Iterator[list[Child]]:
    """The background processes, of which the last one runs."""
    started = [service.start_background(QUICK)]
    yield started
    for each in started:
        each.stop()


def faulty() -> Echo:
    """A candidate that fails at one of 20 rows."""
    found = Faulty("2", "raise")
    found.seconds = SECONDS
    return found


def begin(service: Stack, name: str, kind: str, body: dict[str, Any], candidate: Echo) -> str:
    """Serve an echo on two workers, with a candidate; return the id of its trial."""
    service.register(name, Echo("1", seconds=SECONDS))
    service.register(name, candidate)
    for letter in "ab":
        service.start_worker(f"{name}{letter}", group=name)
    service.deploy(name, version="1", endpoint_name=name, worker_group=name, max_batch_size=8, journal=1)
    trial_id = str(expect(202, service.api.post(f"/deployments/{name}/{kind}", json=body))["id"])

    def is_on_both() -> bool:
        ready = [each for each in service.view(name)["workers"] if each["state"] == "ready" and each["version"] == "2"]
        state = expect(200, service.api.get(f"/deployments/{name}/{kind}"))["state"]
        return len(ready) == 2 and state in ("running", "paused")

    eventually(is_on_both, 60, message="both workers have the candidate")
    return trial_id


def run(
    service: Stack, name: str, break_it: Callable[[], None], is_right: Callable[[Accepted, str], bool]
) -> list[Accepted]:
    """Break the service under load; return the accepted jobs, of which each has its one right outcome."""
    with PatientLoad(service.url, name, again_after=(503,)) as load:
        load.wait_for(60)
        break_it()
        load.wait_for(60, timeout_s=60)
    found = audit.check_ends(service, name, load.accepted, RECOVERY_S)
    for job in load.accepted:
        outcome = found[job.job_id]["outcome"]
        assert outcome["prediction"] == [outcome["version"], job.row], outcome
        assert is_right(job, outcome["version"]), (job, outcome)
    check_journal(service, name, found)
    return load.accepted


def check_journal(service: Stack, name: str, jobs: dict[str, dict[str, Any]]) -> None:
    """Wait until the journal has each of these jobs; fail if it has one twice, or with another outcome."""

    def entries() -> Sequence[dict[str, Any]]:
        with Client(service.url) as client:
            found = list(client.journal(name))
        assert len(found) >= len(jobs)
        return found

    found = eventually(entries, 40, message="every job is in the journal") or []
    assert sorted(each["job_id"] for each in found) == sorted(jobs)
    for each in found:
        assert each["version"] == jobs[each["job_id"]]["outcome"]["version"], each


def test_each_job_of_a_rollout_has_the_outcome_of_its_arm(
    service: Stack, name: str, fault: Fault, backgrounds: list[Child]
) -> None:
    trial_id = begin(service, name, "rollout", ROLLOUT, faulty())
    from_candidate: set[str] = set()

    def is_right(job: Accepted, version: str) -> bool:
        if version == "1":
            return True  # also of a job that was the candidate's: that had failed, or had no host yet
        from_candidate.add(job.job_id)
        return dealing.share(trial_id, job.job_id) < WEIGHT and int(job.row) % 20 != 0

    accepted = run(service, name, lambda: fault(service, name, backgrounds), is_right)
    assert from_candidate
    found = trials.figures(service, trial_id)
    assert found.stable.failed + found.candidate.failed == 0
    # What a process has not written when it is killed is lost; nothing counts twice.
    assert 0 < found.candidate.succeeded <= sum(dealing.share(trial_id, job.job_id) < WEIGHT for job in accepted)
    assert found.stable.succeeded <= sum(dealing.share(trial_id, job.job_id) >= WEIGHT for job in accepted)
    assert found.candidate.counts[arms.ERRORS] <= sum(int(job.row) % 20 == 0 for job in accepted)
    assert expect(200, service.api.get(f"/deployments/{name}/rollout"))["state"] == "running"


def test_a_shadow_costs_no_caller_an_outcome_and_counts_no_copy_twice(
    service: Stack, name: str, fault: Fault, backgrounds: list[Child]
) -> None:
    trial_id = begin(service, name, "shadow", SHADOW, faulty())
    before = trials.figures(service, trial_id).shadow[arms.COPIES_PREDICTED]
    accepted = run(service, name, lambda: fault(service, name, backgrounds), lambda _, version: version == "1")
    found = trials.figures(service, trial_id).shadow
    counted = (arms.COPIES_PREDICTED, arms.COPIES_FAILED, arms.COPIES_SHED, arms.COPIES_LOST)
    assert before < sum(found[each] for each in counted) <= len(accepted)
    shown = expect(200, service.api.get(f"/deployments/{name}/shadow"))
    assert shown["state"] == "running"
    assert shown["pairs"] <= len(accepted)


@pytest.mark.timeout(240)
def test_a_rollout_goes_through_all_steps_although_a_process_dies_in_each(
    service: Stack, name: str, backgrounds: list[Child]
) -> None:
    begin(service, name, "rollout", WHOLE_ROLLOUT, Echo("2", seconds=SECONDS))
    path, faults = f"/deployments/{name}/rollout", [kill_worker, kill_redis, kill_api_and_background]

    def wait_for_step(step: int) -> None:
        def is_reached() -> bool:
            found = expect(200, service.api.get(path))
            if found["state"] == "paused":  # a machine that is busy may be too slow for the length of a step
                service.api.post(f"{path}/resume")
            assert found["state"] == "promoted" or found["step"] >= step, found["reason"]
            return True

        eventually(is_reached, 60, message=f"step {step}, or the promotion")

    def kill_in_each_step() -> None:
        for step, fault in enumerate(faults, 1):
            wait_for_step(step)
            fault(service, name, backgrounds)
        wait_for_step(len(faults) + 1)

    run(service, name, kill_in_each_step, lambda _, __: True)
    assert service.predict(name, "row")["prediction"] == ["2", "row"]


@pytest.mark.usefixtures("backgrounds")
def test_a_rollout_is_aborted_under_load_while_a_worker_dies_and_no_job_is_lost(service: Stack, name: str) -> None:
    trial_id = begin(service, name, "rollout", ROLLOUT, Echo("2", seconds=SECONDS))

    def end_it() -> None:
        found = expect(200, service.api.post(f"/deployments/{name}/rollout/abort", json={}))
        assert found["state"] == "aborted"
        kill_worker(service, name, [])

    accepted = run(service, name, end_it, lambda _, __: True)
    found = trials.figures(service, trial_id)
    assert found.stable.failed + found.candidate.failed + found.candidate.failures == 0
    assert 0 < found.stable.succeeded + found.candidate.succeeded <= len(accepted)
    assert service.predict(name, "row")["prediction"] == ["1", "row"]
