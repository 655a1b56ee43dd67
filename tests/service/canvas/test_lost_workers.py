"""A worker that dies between the end of a job and the publishing of what follows it loses nothing."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.canvas import stock_worker
from tests.support.models import Marks
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys

NAME = "marks"
JOBS = 40
#: Submits chains of three jobs, with a stock task at the end, and writes the ids of each chain.
CHAINS = """
import json, sys
from celery import chain
from tests.support.canvas import stock
from workers.tasks import predict
label, count = sys.argv[1], int(sys.argv[2])
def ids(result):
    return [] if result is None else [*ids(result.parent), result.id]
made = [
    chain(predict.s("marks", f"r{n}"), predict.s(endpoint_name="marks"), predict.s(endpoint_name="marks"),
          stock.note.s(label=label))
    for n in range(count)
]
print(json.dumps([ids(each.apply_async()) for each in made]))
"""
#: A worker that kills itself where the fault is to be: it has ended a job, and not published what follows.
DYING = "tests.support.canvas.dying_worker"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Stack]:
    env = {"QUEUECAST_LEASE_S": "2", "QUEUECAST_SWEEP_INTERVAL_S": "0.5", "PYTHONPATH": "."}
    with Stack(tmp_path / "stack", env=env) as running:
        yield running


@pytest.mark.parametrize("point", ["noted", "published"])
def test_a_worker_that_dies_before_it_has_published_loses_none_and_repeats_none(service: Stack, point: str) -> None:
    dying = service.start_worker("dying", env={"DIES_AT": point}, command=f"python -m {DYING}", wait=False)
    service.register(NAME, Marks())
    service.deploy(NAME, endpoint_name=NAME)
    with stock_worker(service), redis.Redis.from_url(service.redis.url) as store:
        chains = json.loads(service.run("-c", CHAINS, "once", str(JOBS)).stdout)
        eventually(lambda: not dying.running, 30, message="the worker has died at the fault")
        assert dying.exit_code == -signal.SIGKILL
        assert store.zcard(keys.SUCCESSORS_DUE)
        service.start_worker("second")
        jobs = [job_id for each in chains for job_id in each[:3]]
        records = [keys.record(job_id) for job_id in jobs]
        eventually(lambda: store.exists(*records) == len(records), 30, message="every step is submitted")
        documents = service.ended(jobs)
        assert {each["status"] for each in documents} == {"succeeded"}
        predictions = Counter(each["outcome"]["prediction"] for each in documents)
        assert predictions == Counter(f"r{n}{'+' * step}" for n in range(JOBS) for step in (1, 2, 3))
        # Tasks of others are sent at least once, and jobs of ours once: each has been counted once.
        eventually(lambda: store.llen("called:once") >= JOBS, 20)
        assert service.view(NAME)["succeeded_count"] == 3 * JOBS
        eventually(lambda: not store.exists(keys.SUCCESSORS, keys.SUCCESSORS_DUE), 20)
