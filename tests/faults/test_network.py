"""A network between a worker and Redis that is cut, stalls or is slow: other workers go on, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults import audit
from tests.faults.conftest import LEASE_S
from tests.support.loads.load import Load
from tests.support.models import Echo
from tests.support.servers.proxy import Proxy
from tests.support.service.stack import Stack, Worker
from tests.support.waiting import eventually


@contextmanager
def behind_a_proxy(service: Stack, name: str) -> Iterator[tuple[Proxy, Worker]]:
    """A worker that reaches Redis through a proxy alone, beside the service's own, which reaches it directly."""
    service.register(name, Echo("m", seconds=0.002))
    with Proxy(service.redis.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        far = service.start_worker(f"{name}-far", env={"QUEUECAST_REDIS_URL": url})
        service.deploy(name, endpoint_name=name, max_batch_size=8)
        eventually(lambda: len(service.view(name)["workers"]) == 2, message="both serve")
        yield proxy, far
        far.stop()


def workers_of_the_next(service: Stack, load: Load) -> set[str]:
    """Who makes the outcomes of the next jobs."""
    load.wait_for(40)
    return {each["worker"] for each in service.outcomes(job.job_id for job in load.accepted[-40:])}


def test_a_worker_whose_network_stalls_for_longer_than_its_lease_loses_no_job(service: Stack, name: str) -> None:
    with behind_a_proxy(service, name) as (proxy, far):
        with Load(service.url, name) as load:
            load.wait_for(60)
            proxy.stall()
            load.wait_for(60)
            # Its leases run out meanwhile, and the other worker runs what it holds.
            audit.check(service, name, list(load.accepted), lambda row: ["m", row], LEASE_S + 15)
            proxy.resume()
            load.wait_for(60)
            eventually(lambda: far.node_name in workers_of_the_next(service, load), 20, message="it serves again")
        assert far.running
        audit.check(service, name, load.accepted, lambda row: ["m", row], 20)


def test_connections_that_are_cut_again_and_again_lose_no_job(service: Stack, name: str) -> None:
    with behind_a_proxy(service, name) as (proxy, far):
        with Load(service.url, name) as load:
            for _ in range(8):
                load.wait_for(30)
                proxy.cut()
            load.wait_for(60)
        assert load.refused == []
        audit.check(service, name, load.accepted, lambda row: ["m", row], LEASE_S + 10)
        assert far.running


def test_a_slow_network_only_makes_it_slow(service: Stack, name: str) -> None:
    with behind_a_proxy(service, name) as (proxy, _):
        proxy.delay_s = 0.05
        with Load(service.url, name) as load:
            load.wait_for(150)
        documents = service.ended(job.job_id for job in load.accepted)
        assert {each["attempts"] for each in documents} == {1}
        audit.check(service, name, load.accepted, lambda row: ["m", row], 20)
