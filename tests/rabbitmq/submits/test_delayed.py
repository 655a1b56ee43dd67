"""Jobs with an `eta`, with RabbitMQ: they hold nothing of a queue's prefetch, and wait in Redis as with Redis."""

from __future__ import annotations

import time
from pathlib import Path

from tests.faults import audit
from tests.support.delayed import check_predicts_at_once, submit_delayed, submit_many_delayed, timestamp
from tests.support.models import Echo, Recorder
from tests.support.servers.rabbitmq import RabbitNode
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.queues.naming import queue_name

MANY = 1_000


def test_after_a_lost_connection_delayed_jobs_keep_no_other_waiting(
    service: Stack, rabbit: RabbitNode, name: str
) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name, max_batch_size=1)
    send = service.celery.send_task
    later = [send("predict", args=[name, "x"], queue=queue_name(name), countdown=60).id for _ in range(2)]
    eventually(lambda: rabbit.depth(queue_name(name)) == 0, message="a worker has taken them")
    rabbit.close_all_connections()
    began = time.monotonic()
    assert service.predict(name, "now", wait_s=40)["prediction"] == ["1", "now"]
    assert time.monotonic() - began < 10
    eventually(lambda: service.view(name)["delayed_count"] == len(later))
    eventually(lambda: rabbit.queues()[queue_name(name)]["messages_unacknowledged"] == 0, message="none is held")
    service.undeploy(name, "reject")
    assert {service.job(job_id)["error"]["code"] for job_id in later} == {"endpoint_undeployed"}


def test_many_delayed_jobs_keep_no_other_waiting(service: Stack, rabbit: RabbitNode, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name, max_batch_size=1)
    submit_many_delayed(service, name, MANY)
    check_predicts_at_once(service, name)
    assert service.view(name)["delayed_count"] == MANY
    assert rabbit.depth(queue_name(name)) == 0
    service.undeploy(name, "reject")
    eventually(lambda: audit.leftovers(service, name) == {}, message="nothing is left")


def test_delayed_jobs_run_once_and_not_before_their_time(service: Stack, name: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    service.register(name, Recorder(ran))
    service.deploy(name, endpoint_name=name)
    ours = submit_delayed(service, name, "ours", 4)
    bare = service.celery.send_task("predict", args=[name, "bare"], queue=queue_name(name), countdown=4).id
    service.wait_until_known([bare])  # once a worker has put it aside
    not_before = [service.job(job_id, wait_s=0)["not_before"] for job_id in (ours, bare)]
    for job, moment in zip(service.ended([ours, bare]), not_before, strict=True):
        assert job["status"] == "succeeded"
        assert timestamp(job["started_at"]) >= timestamp(moment) - 0.001
    assert sorted(ran.read_text().split()) == ["bare", "ours"]
    eventually(lambda: audit.leftovers(service, name, [ours, bare]) == {}, message="nothing is left")
