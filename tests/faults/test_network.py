"""A network between a worker and Redis that is cut, stalls or is slow: other workers go on, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults import audit
from tests.faults.conftest import LEASE_S
from tests.support.load import Load
from tests.support.models import Echo
from tests.support.proxy import Proxy
from tests.support.stack import Stack, Worker
from tests.support.waiting import eventually


@contextmanager
def behind_a_proxy(stack: Stack) -> Iterator[tuple[Proxy, Worker]]:
    """A worker that reaches Redis through a proxy alone, beside one that reaches it directly."""
    stack.register("echo", Echo("m", seconds=0.002))
    with Proxy(stack.redis.port) as proxy:
        far = stack.start_worker("far", env={"QUEUECAST_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"})
        stack.start_worker("near")
        stack.deploy("echo", endpoint_name="echo", max_batch_size=8)
        eventually(lambda: len(stack.view("echo")["workers"]) == 2, message="both serve")
        yield proxy, far
        far.stop()


def workers_of_the_next(stack: Stack, load: Load) -> set[str]:
    """Who makes the outcomes of the next jobs."""
    load.wait_for(40)
    return {each["worker"].partition("@")[0] for each in stack.outcomes(job.job_id for job in load.accepted[-40:])}


def test_a_worker_whose_network_stalls_for_longer_than_its_lease_loses_no_job(faulty: Stack) -> None:
    with behind_a_proxy(faulty) as (proxy, far):
        with Load(faulty.url, "echo") as load:
            load.wait_for(60)
            proxy.stall()
            load.wait_for(60)
            # Its leases run out meanwhile, and the other worker runs what it holds.
            audit.check(faulty, "echo", list(load.accepted), lambda row: ["m", row], LEASE_S + 15)
            proxy.resume()
            load.wait_for(60)
            eventually(lambda: "far" in workers_of_the_next(faulty, load), 20, message="it serves again")
        assert far.running
        audit.check(faulty, "echo", load.accepted, lambda row: ["m", row], 20)


def test_connections_that_are_cut_again_and_again_lose_no_job(faulty: Stack) -> None:
    with behind_a_proxy(faulty) as (proxy, far):
        with Load(faulty.url, "echo") as load:
            for _ in range(8):
                load.wait_for(30)
                proxy.cut()
            load.wait_for(60)
        assert load.refused == []
        audit.check(faulty, "echo", load.accepted, lambda row: ["m", row], LEASE_S + 10)
        assert far.running


def test_a_slow_network_only_makes_it_slow(faulty: Stack) -> None:
    with behind_a_proxy(faulty) as (proxy, _):
        proxy.delay_s = 0.05
        with Load(faulty.url, "echo") as load:
            load.wait_for(150)
        documents = faulty.ended(job.job_id for job in load.accepted)
        assert {each["attempts"] for each in documents} == {1}
        audit.check(faulty, "echo", load.accepted, lambda row: ["m", row], 20)
