"""An evaluation goes on by itself, whatever dies, and counts each job once."""

from __future__ import annotations

import os
import signal

import pytest
import redis

from api.client import Client
from tests.support.models import Labels
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

JOBS = 300


@pytest.mark.long
def test_kill_9_of_the_api_redis_the_worker_and_the_background_process_in_a_replay(service: Stack, name: str) -> None:
    worker = service.start_worker(f"{name}a", group=name)
    background = service.start_background({"QUEUECAST_JOURNAL_INTERVAL_S": "0.1"})
    service.register(name, Labels(), input_example=1)
    service.register(name, Labels(flips=[3, 7, 11], seconds=0.02), input_example=1)
    service.deploy(name, version="1", endpoint_name=name, journal=1, worker_group=name)
    service.outcomes(service.submit_all(name, range(JOBS)))
    with Client(service.url) as client:
        evaluation_id = client.evaluate(name, "2", control=0.3, wait=False).evaluation_id

        def replayed(least: int) -> bool:
            found = client.evaluation(evaluation_id)
            assert found.state == "replaying" or found.has_ended, found
            return int(found.progress["replayed"]) >= least

        eventually(lambda: replayed(0), 30)
        background.kill()
        worker.kill()
        background = service.start_background()
        service.start_worker(f"{name}b", group=name)
        eventually(lambda: replayed(100), 60)
        assert service.redis.pid is not None
        os.kill(service.redis.pid, signal.SIGKILL)
        service.redis.stop()
        service.redis.start()
        service.server.kill()
        service.start_server()
        eventually(lambda: client.evaluation(evaluation_id).has_ended, 90)
        found = client.evaluation(evaluation_id)
    assert (found.state, found.progress["replayed"], found.report and found.report["jobs"]) == ("succeeded", JOBS, JOBS)
    assert found.report is not None
    assert found.report["agreement"]["estimate"] == pytest.approx(1 - 3 / JOBS)

    def is_cleared() -> bool:
        with redis.Redis.from_url(service.redis.url) as records:
            return not list(records.scan_iter(f"*{evaluation_id}*", count=10_000))

    eventually(is_cleared, 40)
    background.terminate()
