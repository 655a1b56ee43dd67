"""Failovers that cost something, or meet more than a worker and an API: all of them services of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.faults import audit
from tests.faults.conftest import FAST
from tests.faults.failover.conftest import FailingOverStack, failing_over
from tests.support.loads.load import Load
from tests.support.models import Echo
from tests.support.servers.proxy import Proxy
from tests.support.servers.replicated_redis import ReplicatedRedis, Server
from tests.support.servers.secured_redis import PASSWORD, USERS_FILE
from tests.support.service.ports import free_port
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys

pytestmark = pytest.mark.long

BACK_S = 30.0
#: What docs/guides/redis-failover.md says of a failover without QUEUECAST_REDIS_REPLICAS.
MOST_LOST_S = 1.0


@dataclass
class TimedLoad(Load):
    """A load that knows when each job was accepted (s, monotonic)."""

    accepted_at: list[float] = field(default_factory=list)

    def _submit(self, api: httpx.Client, row: str) -> None:
        before = self.count
        super()._submit(api, row)
        if self.count > before:
            self.accepted_at.append(time.monotonic())


def test_without_replicas_only_jobs_of_the_last_second_can_be_lost(tmp_path: Path) -> None:
    with failing_over(tmp_path) as service:
        service.register("plain", Echo("m", seconds=0.001))
        service.deploy("plain", endpoint_name="plain", max_batch_size=8)
        old = service.redis.master
        with TimedLoad(service.url, "plain") as load:
            load.wait_for(300)
            killed_at = time.monotonic()
            old.kill()
            load.wait_for_refusals()
            load.wait_for(100, timeout_s=BACK_S)
        lost = [
            at
            for at, job in zip(load.accepted_at, load.accepted, strict=True)
            if service.api.get(f"/jobs/{job.job_id}").status_code == 404
        ]
        print(f"{len(lost)} of {load.count} accepted jobs were lost")  # for the documentation
        assert all(killed_at - MOST_LOST_S <= at <= killed_at + MOST_LOST_S for at in lost)
        kept = [job for at, job in zip(load.accepted_at, load.accepted, strict=True) if at not in lost]
        audit.check(service, "plain", kept, lambda row: ["m", row], 30)


def test_a_master_that_the_network_cuts_off_is_left_and_follows_when_it_is_back(tmp_path: Path) -> None:
    redis = ReplicatedRedis(tmp_path / "redis")
    old = redis.servers[0]
    with Proxy(old.port) as network:
        old.reached_at = network.port
        with FailingOverStack(tmp_path, redis, {"QUEUECAST_REDIS_REPLICAS": "1"}) as service:
            service.start_worker()
            service.register("cut", Echo("m", seconds=0.001))
            service.deploy("cut", endpoint_name="cut", max_batch_size=8)
            with Load(service.url, "cut") as load:
                load.wait_for(50)
                network.stall()
                redis.wait_for_master_after(old)
                load.wait_for(50, timeout_s=BACK_S)
                network.resume()
                redis.wait_for_replica(old)
                load.wait_for(50)
            assert {answer.status_code for answer in load.refused} <= {503}
            audit.check(service, "cut", load.accepted, lambda row: ["m", row], 30)


def test_a_name_that_moves_is_followed_by_every_process(tmp_path: Path) -> None:
    """A managed Redis: its old master stays, refuses writes as a replica, and closes no connection."""
    with (
        Server(free_port(), tmp_path / "one") as one,
        Server(free_port(), tmp_path / "two") as two,
        Proxy(one.port) as name,
    ):
        two.follow(one)
        with Stack(tmp_path, env={**FAST, "QUEUECAST_REDIS_URL": f"redis://127.0.0.1:{name.port}/0"}) as service:
            service.redis = one
            worker, background = service.start_worker(), service.start_background()
            service.register("moved", Echo("m", seconds=0.001))
            service.deploy("moved", endpoint_name="moved", max_batch_size=8)
            with service.flower(worker) as flower, Load(service.url, "moved") as load:
                load.wait_for(50)
                with one.client() as old, two.client() as new:
                    old.client_pause(10_000, all=False)
                    new.replicaof("NO", "ONE")
                    name.to_port = two.port
                    one.follow(two)
                    old.client_unpause()
                service.redis = two
                load.wait_for(100, timeout_s=BACK_S)
                moved_at = time.time()
                eventually(lambda: _answers(flower, worker.node_name, moved_at), 30, message="Flower is back")
            assert {answer.status_code for answer in load.refused} <= {503}
            audit.check(service, "moved", load.accepted, lambda row: ["m", row], 30)
            assert worker.running
            assert background.running


def _answers(flower: str, node_name: str, after: float) -> bool:
    """Tell whether Flower has had an answer of a worker since then (s since the epoch)."""
    found = httpx.get(f"{flower}/api/workers", params={"refresh": "true"}, timeout=20)
    return found.status_code == 200 and found.json().get(node_name, {}).get("timestamp", 0) > after


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[FailingOverStack]:
    """A service whose processes have the users of docs/redis-users.acl, and whose sentinels have a password."""
    lines = USERS_FILE.read_text(encoding="utf-8").replace("PASSWORD", PASSWORD).splitlines()
    path = tmp_path / "users.acl"
    path.write_text("\n".join(line for line in lines if line.startswith("user ")) + "\n")
    redis = ReplicatedRedis(tmp_path / "redis", {"aclfile": str(path), "masterauth": PASSWORD})
    env = {
        "QUEUECAST_REDIS_URL": redis.url_of(f"queuecast-api:{PASSWORD}@"),
        "QUEUECAST_REDIS_REPLICAS": "1",
    }
    with FailingOverStack(tmp_path, redis, env) as stack:
        yield stack


def test_every_process_finds_the_new_master_as_its_own_user(secured: FailingOverStack) -> None:
    of_worker = {"QUEUECAST_REDIS_URL": secured.redis.url_of(f"queuecast-worker:{PASSWORD}@")}
    worker = secured.start_worker(env=of_worker)
    background = secured.start_background(env=of_worker)
    secured.register("users", Echo("m"))
    secured.deploy("users", endpoint_name="users")
    assert secured.predict("users", "before")["prediction"] == ["m", "before"]
    secured.env["QUEUECAST_REDIS_URL"] = secured.redis.url_of(f"queuecast-flower:{PASSWORD}@")
    with secured.flower(worker) as flower:
        old = secured.redis.master
        old.kill()
        secured.redis.wait_for_master_after(old)
        eventually(lambda: secured.api.get("/health/ready").status_code == 200, BACK_S, message="the API is back")
        assert secured.predict("users", "after")["prediction"] == ["m", "after"]

        after = time.time()
        eventually(lambda: _answers(flower, worker.node_name, after), 30, message="Flower reaches the worker")
    assert worker.running
    assert background.running
    with secured.redis.master.client() as client:
        assert client.hgetall(keys.REPORTS)
        denied = [each for each in client.acl_log() if each["object"] != "client|setinfo"]
    assert denied == []
