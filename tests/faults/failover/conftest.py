"""A service on Redis that fails over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import FAST
from tests.support.servers.replicated_redis import ReplicatedRedis
from tests.support.service.stack import Stack


class FailingOverStack(Stack):
    """A service whose Redis is found by sentinels."""

    redis: ReplicatedRedis  # type: ignore[assignment]  # it starts and stops like the embedded one

    def __init__(self, folder: Path, redis: ReplicatedRedis, env: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, env={**FAST, "QUEUECAST_REDIS_URL": redis.sentinel_url, **(env or {})})
        self.redis = redis


@contextmanager
def failing_over(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[FailingOverStack]:
    """Run a service with one worker."""
    with FailingOverStack(folder, ReplicatedRedis(folder / "redis"), env) as stack:
        stack.start_worker()
        yield stack


@pytest.fixture(scope="module")
def replicated_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FailingOverStack]:
    """A service that accepts a job once a replica has it."""
    with failing_over(tmp_path_factory.mktemp("failover"), {"QUEUECAST_REDIS_REPLICAS": "1"}) as stack:
        yield stack
