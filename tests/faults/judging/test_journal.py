"""The journal has every job once, whatever dies while jobs end and are moved to files."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from api.client import Client
from tests.support.models import Echo
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

QUICK = {"QUEUECAST_JOURNAL_INTERVAL_S": "0.1"}
WAVE = 60


def journaled(service: Stack, name: str) -> list[str]:
    with Client(service.url) as client:
        return [each["job_id"] for each in client.journal(name)]


def in_files(service: Stack, name: str) -> list[str]:
    """Job ids as other programs read them."""
    folder = Path(service.env["QUEUECAST_DATA_DIR"]) / "artifacts" / "journal" / f"endpoint_name={name}"
    return [
        job_id
        for path in folder.glob("*/*.parquet")
        for job_id in pq.read_table(path, columns=["job_id"], partitioning=None).column("job_id").to_pylist()
    ]


def submit(service: Stack, name: str) -> list[str]:
    """Submit a wave of jobs, without waiting for their ends."""
    return service.submit_all(name, [f"row {number}" for number in range(WAVE)])


@pytest.mark.long
def test_kill_9_of_the_background_process_the_worker_and_redis_lose_and_double_no_job(
    service: Stack, name: str
) -> None:
    service.register(name, Echo("m"))
    worker = service.start_worker(f"{name}a", group=name)
    service.deploy(name, endpoint_name=name, journal=1, max_batch_size=4, worker_group=name)
    ids: list[str] = []
    background = service.start_background(QUICK)
    for fault in ("background", "worker", "redis", "background"):
        ids += submit(service, name)
        service.outcomes(ids[-WAVE:][:1])
        ids += submit(service, name)
        if fault == "background":
            background.kill()
            background = service.start_background(QUICK)
        elif fault == "worker":
            worker.kill()
            worker = service.start_worker(f"{name}b", group=name)
        else:
            kill_redis(service)
    assert len(service.outcomes(ids)) == len(ids)
    eventually(lambda: sorted(in_files(service, name)) == sorted(ids), 40, message="every job is in files, once")
    found = journaled(service, name)
    assert_once(found, ids)
    background.terminate()


def kill_redis(service: Stack) -> None:
    assert service.redis.pid is not None
    os.kill(service.redis.pid, signal.SIGKILL)
    service.redis.stop()
    service.redis.start()


def assert_once(found: Sequence[str], ids: Sequence[str]) -> None:
    assert not [job_id for job_id, count in Counter(found).items() if count > 1], "a job is there twice"
    assert set(found) == set(ids)
