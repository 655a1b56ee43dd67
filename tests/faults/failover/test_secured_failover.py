"""Servers and sentinels that speak TLS alone, with the users that the guide shows: jobs go on after a failover."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.failover.conftest import FailingOverStack
from tests.support.models import Echo
from tests.support.servers.replicated_redis import MASTER_NAME, ReplicatedRedis
from tests.support.servers.secured_redis import PASSWORD, USERS_FILE, tls_options
from tests.support.service.environment import REPOSITORY
from tests.support.waiting import eventually

pytestmark = pytest.mark.servers

GUIDE = REPOSITORY / "docs" / "guides" / "redis-failover.md"
SENTINEL_PASSWORD = "only-for-sentinels"
BACK_S = 10.0


def users(*files: Path) -> list[str]:
    """Return the lines of these files that make users."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return [line for line in text.splitlines() if line.startswith("user ")]


class SecuredRedis(ReplicatedRedis):
    """Servers and sentinels with TLS and users, word for word as the guide says."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        tls = tls_options(folder / "certificates")
        path = folder / "users.acl"
        [of_sentinels] = [line for line in users(GUIDE) if "SENTINEL-PASSWORD" in line]
        of_servers = [line for line in users(USERS_FILE, GUIDE) if line != of_sentinels]
        path.write_text("\n".join(of_servers).replace("PASSWORD", PASSWORD) + "\n")
        super().__init__(
            folder,
            {"aclfile": str(path), "masteruser": "replication", "masterauth": PASSWORD, **tls},
            sentinel_lines=(
                f"sentinel auth-user {MASTER_NAME} sentinel",
                f"sentinel auth-pass {MASTER_NAME} {PASSWORD}",
                f"requirepass {PASSWORD}",
                of_sentinels.replace("SENTINEL-PASSWORD", SENTINEL_PASSWORD),
            ),
        )

    def url_of(self, login: str) -> str:
        """Return the URL for the settings of a user, who has the sentinels' user with few rights."""
        return super().url_of(login).replace(
            f"&sentinel_password={PASSWORD}", f"&sentinel_username=queuecast&sentinel_password={SENTINEL_PASSWORD}"
        )  # fmt: skip


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[FailingOverStack]:
    redis = SecuredRedis(tmp_path / "redis")
    env = {"QUEUECAST_REDIS_URL": redis.url_of(f"queuecast-api:{PASSWORD}@"), "QUEUECAST_REDIS_REPLICAS": "1"}
    with FailingOverStack(tmp_path, redis, env) as stack:
        yield stack


def test_jobs_go_on_after_a_failover_with_tls_and_users_everywhere(secured: FailingOverStack) -> None:
    of_worker = {"QUEUECAST_REDIS_URL": secured.redis.url_of(f"queuecast-worker:{PASSWORD}@")}
    worker = secured.start_worker(env=of_worker)
    background = secured.start_background(env=of_worker)
    secured.register("tls", Echo("m"))
    secured.deploy("tls", endpoint_name="tls")
    assert secured.predict("tls", "before")["prediction"] == ["m", "before"]
    secured.env["QUEUECAST_REDIS_URL"] = secured.redis.url_of(f"queuecast-flower:{PASSWORD}@")
    with secured.flower(worker) as flower:
        old = secured.redis.master
        old.kill()
        secured.redis.wait_for_master_after(old)
        eventually(lambda: secured.api.get("/health/ready").status_code == 200, BACK_S, message="the API is back")
        assert secured.predict("tls", "after")["prediction"] == ["m", "after"]

        def answers() -> bool:
            found = httpx.get(f"{flower}/api/workers", params={"refresh": "true"}, timeout=20)
            return found.status_code == 200 and worker.node_name in found.json()

        eventually(answers, 30, message="Flower reaches the worker")
    assert worker.running
    assert background.running
    with secured.redis.master.client() as client:
        denied = [each for each in client.acl_log() if each["object"] != "client|setinfo"]
    assert denied == []
    logs = "".join(path.read_text(errors="replace") for path in secured.logs.glob("*.log"))
    assert PASSWORD not in logs
    assert SENTINEL_PASSWORD not in logs
