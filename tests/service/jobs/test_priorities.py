"""Priorities through a whole service: what is urgent goes first, and nobody starves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.calls import expect
from tests.support.models import Recorder
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.queues.naming import queue_name

#: Many batches more than a worker takes at once.
BACKLOG = 120


@pytest.fixture
def log(service: Stack, name: str, tmp_path: Path) -> Path:
    """Where the endpoint's model writes what it predicts, once the file `<log>.gate` is there."""
    log = tmp_path / "log"
    service.register(name, Recorder(log, seconds=0.005, gate=tmp_path / "log.gate"))
    service.deploy(name, max_batch_size=2, endpoint_name=name)
    return log


def opened(log: Path) -> None:
    log.with_suffix(".gate").touch()


def test_of_a_long_backlog_high_jobs_go_first_and_low_ones_are_done_before_its_end(
    service: Stack, name: str, log: Path
) -> None:
    rows = [{"input": f"normal {number}"} for number in range(BACKLOG)]
    low = [{"input": f"low {number}", "priority": "low"} for number in range(4)]
    ids = expect(202, service.api.post(f"/predict/{name}/bulk", json=[*low, *rows]))["job_ids"]
    running = {"endpoint_name": name, "status": "running"}
    eventually(lambda: len(service.api.get("/jobs", params=running).json()["jobs"]) == 2, message="a host has a batch")
    body = {"input": "high", "priority": "high"}
    ids.append(expect(202, service.api.post(f"/predict/{name}", json=body))["job_id"])
    # Though the worker has taken all that it can use, and more than that wait.
    service.wait_until_reserved(service.workers[0], ids[-1:])
    opened(log)
    service.ended(ids)
    done = log.read_text().split("\n")[:-1]
    assert sorted(done) == sorted([*(each["input"] for each in (*low, *rows)), "high"])
    # Behind the batch that a host had, and at the most another one that was being taken.
    assert done.index("high") < 5
    assert max(done.index(each["input"]) for each in low) < BACKLOG / 2
    assert [each for each in done if each.startswith("normal")] == [each["input"] for each in rows]


def test_the_command_line_and_celery_programs_say_a_priority_too(service: Stack, name: str, log: Path) -> None:
    first = service.submit_all(name, [f"normal {number}" for number in range(20)])
    service.wait_until_running(first[:1])
    service.queuecast("predict", name, '"low"', "--priority", "low", "--no-wait")
    service.queuecast("predict", name, '"high"', "--priority", "high", "--no-wait")
    queue = f"{queue_name(name)}:high"
    bare = service.celery.send_task("predict", args=[name, "bare"], queue=queue)
    opened(log)
    assert bare.get(timeout=30)["prediction"] == ["", "bare"]
    eventually(lambda: len(log.read_text().split()) >= 43, message="all are done")
    done = log.read_text().split("\n")
    assert max(done.index("high"), done.index("bare")) < done.index("normal 10")
    assert "low" in done
