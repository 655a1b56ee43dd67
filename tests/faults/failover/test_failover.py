"""A master that is lost: another takes its place within seconds, and what was accepted is not lost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.faults import audit
from tests.faults.failover.conftest import FailingOverStack
from tests.support.loads.load import Accepted, Load
from tests.support.models import Echo
from tests.support.service.environment import REPOSITORY
from tests.support.waiting import eventually

#: From the loss of a master until jobs are accepted again: sentinels take about 1.5 s with the timers of these tests.
#: A replica that misses their order gets the next one ten seconds later, and until then confirms nothing.
BACK_S = 30.0


def whole(service: FailingOverStack) -> FailingOverStack:
    """Return the service as it was at first, whatever the test before has left."""
    service.redis.make_whole()
    eventually(lambda: httpx.get(f"{service.url}/health/ready").status_code == 200, 30, message="the API is ready")
    return service


@contextmanager
def celery_load(service: FailingOverStack, endpoint_name: str) -> Iterator[list[Accepted]]:
    """Submit jobs from a Celery program; the list has those that were accepted, once the block has ended."""
    accepted: list[Accepted] = []
    command = [sys.executable, "-m", "tests.support.loads.celery_load", endpoint_name]
    with (
        (service.logs / "celery-load.log").open("ab") as log,
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=service.env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as program,  # fmt: skip
    ):
        try:
            yield accepted
        finally:
            said, _ = program.communicate(timeout=30)
            accepted += [Accepted(*line.split()) for line in said.splitlines()]
    assert program.returncode == 0, (service.logs / "celery-load.log").read_text()


@pytest.mark.servers
def test_no_accepted_job_is_lost_with_a_killed_master(replicated_service: FailingOverStack) -> None:
    service, name = replicated_service, "killed"
    service.register(name, Echo("m", seconds=0.001))
    service.deploy(name, endpoint_name=name, max_batch_size=8)
    old = service.redis.master
    assert service.celery.control.inspect(timeout=5).stats(), "workers tell how they are connected, without secrets"
    service.forget_celery()
    with Load(service.url, name) as load, celery_load(service, name) as by_celery:
        load.wait_for(100)
        old.kill()
        load.wait_for_refusals()
        began = time.monotonic()
        load.wait_for(100, timeout_s=BACK_S)
        print(f"accepted again after {time.monotonic() - began:.1f} s")  # for the documentation
    assert service.redis.master is not old
    assert {answer.status_code for answer in load.refused} == {503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in load.refused)
    assert {answer.json()["code"] for answer in load.refused} <= {"queue_unavailable", "job_unconfirmed"}
    assert by_celery
    audit.check(service, name, [*load.accepted, *by_celery], lambda row: ["m", row], 30)
    service.wait_for_status(name, "active")
    assert service.workers[0].running


@pytest.mark.long
def test_a_killed_master_that_comes_back_is_a_replica(replicated_service: FailingOverStack) -> None:
    service, name = whole(replicated_service), "back"
    service.register(name, Echo("m", seconds=0.001))
    service.deploy(name, endpoint_name=name, max_batch_size=8)
    old = service.redis.master
    with Load(service.url, name) as load:
        load.wait_for(50)
        old.kill()
        service.redis.wait_for_master_after(old)
        load.wait_for(50, timeout_s=BACK_S)
        # It takes itself for the master, until the sentinels notice.
        service.redis.make_whole()
        load.wait_for(50)
    assert {answer.status_code for answer in load.refused} <= {503}
    audit.check(service, name, load.accepted, lambda row: ["m", row], 30)


@pytest.mark.long
def test_a_planned_failover_loses_nothing_and_the_old_master_is_left(replicated_service: FailingOverStack) -> None:
    service, name = whole(replicated_service), "planned"
    service.register(name, Echo("m", seconds=0.001))
    service.deploy(name, endpoint_name=name, max_batch_size=8)
    old = service.redis.master
    with Load(service.url, name) as load, celery_load(service, name) as by_celery:
        load.wait_for(50)
        service.redis.fail_over()
        service.redis.wait_for_master_after(old)
        load.wait_for(100, timeout_s=BACK_S)
    assert {answer.status_code for answer in load.refused} <= {503}
    audit.check(service, name, [*load.accepted, *by_celery], lambda row: ["m", row], 30)


@pytest.mark.long
def test_a_master_that_hangs_is_left_and_is_a_replica_when_it_goes_on(replicated_service: FailingOverStack) -> None:
    service, name = whole(replicated_service), "hanging"
    service.register(name, Echo("m", seconds=0.001))
    service.deploy(name, endpoint_name=name, max_batch_size=8)
    old = service.redis.master
    with Load(service.url, name) as load:
        load.wait_for(50)
        old.hang()
        service.redis.wait_for_master_after(old)
        load.wait_for(50, timeout_s=BACK_S)
        old.go_on()
        service.redis.wait_for_replica(old)
        load.wait_for(50)
    assert {answer.status_code for answer in load.refused} <= {503}
    audit.check(service, name, load.accepted, lambda row: ["m", row], 30)
