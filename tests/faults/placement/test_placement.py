"""Two workers share deployments with a range of hosts: each is served by one, and by the other one if that is gone."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import islice
from typing import Any

import pytest

from tests.faults import audit
from tests.faults.conftest import LEASE_S
from tests.support.loads.load import Load
from tests.support.models import Echo
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.engine.placement.ranking import ranked
from workers.measures.reports import REPORT_LIFE_S

ON_DEMAND: dict[str, Any] = {"hosts": {"min": 0, "max": 1}, "idle_s": 600.0, "max_batch_delay_ms": 0}
#: After a worker has died: until its report and leases have run out, and the model is loaded elsewhere.
TAKEN_OVER_S = REPORT_LIFE_S + LEASE_S + 10


def states(stack: Stack, name: str) -> dict[str, str]:
    return {each["worker"]: each["state"] for each in stack.view(name)["workers"]}


def served_by(stack: Stack, name: str) -> str:
    """The only worker that has the model, once each has seen the reports of the others."""
    eventually(lambda: len(stack.serving(name)) == 1, 20, message="one worker serves")
    return next(iter(stack.serving(name)))


def first_for(worker: str, workers: Iterable[str], name: str) -> list[str]:
    """Return three endpoints for which a worker is ranked first."""
    candidates = (f"{name}-{number}" for number in range(100))
    return list(islice((each for each in candidates if ranked(each, workers)[0] == worker), 3))


def is_served_by(stack: Stack, name: str, worker: str) -> bool:
    return stack.serving(name) == {worker}


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_killed_worker_is_taken_over_within_the_life_of_its_report_and_no_job_is_lost(
    service: Stack, name: str
) -> None:
    service.register(name, Echo("m", seconds=0.001))
    workers = {each.node_name: each for each in (service.start_worker(f"{name}-{n}", name) for n in ("one", "two"))}
    endpoints = [spread for worker in workers for spread in first_for(worker, workers, name)]
    for endpoint in endpoints:
        service.deploy(name, endpoint_name=endpoint, worker_group=name, **ON_DEMAND)
    first = {endpoint: ranked(endpoint, workers)[0] for endpoint in endpoints}
    with ExitStack() as loads:
        load = [loads.enter_context(Load(service.url, each, pause_s=0.03)) for each in endpoints]
        for each in load:
            each.wait_for(20)
        assert {each: served_by(service, each) for each in endpoints} == first
        for each in load:
            each.wait_for(20)
        assert {tuple(sorted(states(service, each).values())) for each in endpoints} == {("not placed", "ready")}
        victim = first[endpoints[0]]
        workers[victim].kill()
        killed_at = time.monotonic()
        heir = next(each for each in workers if each != victim)
        orphans = [each for each in endpoints if first[each] == victim]
        for orphan in orphans:
            eventually(functools.partial(is_served_by, service, orphan, heir), TAKEN_OVER_S, message="it is taken over")
        print(f"taken over {time.monotonic() - killed_at:.1f} s after the kill")
        for each in load:
            each.wait_for(20)
        # It comes back, and takes over what it is the first for.
        service.start_worker(victim.partition("@")[0], name)
        for orphan in orphans:
            eventually(functools.partial(is_served_by, service, orphan, victim), 60, message="it is handed over")
        for each in load:
            each.wait_for(20)
    for each in load:
        assert each.refused == []
        audit.check(service, each.endpoint_name, each.accepted, lambda row: ["m", row], TAKEN_OVER_S)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_worker_that_stops_or_starts_hands_over_and_no_job_runs_twice(service: Stack, name: str) -> None:
    service.register(name, Echo("m", seconds=0.01))
    pair = [f"{name}-one", f"{name}-two"]
    workers = [service.start_worker(each, name) for each in pair]
    service.deploy(name, endpoint_name=name, worker_group=name, **ON_DEMAND)
    with Load(service.url, name, pause_s=0.01) as load:
        for _ in range(2):
            load.wait_for(20)
            leaving = next(each for each in workers if each.node_name == served_by(service, name))
            leaving.terminate()
            eventually(lambda: service.serving(name), 20, message="the other one serves")
            load.wait_for(20)
            workers[workers.index(leaving)] = service.start_worker(leaving.name, name)
            handed_back = functools.partial(is_served_by, service, name, leaving.node_name)
            eventually(handed_back, 60, message="the first one serves again")
    assert load.refused == []
    documents = audit.check(service, name, load.accepted, lambda row: ["m", row], TAKEN_OVER_S)
    assert {each["attempts"] for each in documents} == {1}
    assert service.view(name)["request_count"] == load.count


@pytest.mark.long
@pytest.mark.timeout(120)
def test_the_next_worker_joins_while_jobs_wait_too_long_and_leaves_afterwards(service: Stack, name: str) -> None:
    service.register(name, Echo("m", seconds=0.1))
    for each in ("one", "two"):
        service.start_worker(f"{name}-{each}", name)
    settings = {**ON_DEMAND, "idle_s": 3.0, "target_wait_s": 1.0, "max_batch_size": 1}
    service.deploy(name, endpoint_name=name, worker_group=name, **settings)
    rows = [str(number) for number in range(150)]
    jobs = service.submit_all(name, rows)
    eventually(lambda: len(service.serving(name)) == 2, 30, message="both serve")
    outcomes = service.outcomes(jobs)
    assert [each["prediction"] for each in outcomes] == [["m", row] for row in rows]
    assert len({each["worker"] for each in outcomes}) == 2
    eventually(lambda: set(states(service, name).values()) == {"asleep", "not placed"}, 60, message="one has left")
    assert service.view(name)["status"] == "asleep"
