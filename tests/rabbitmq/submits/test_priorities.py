"""Priorities with jobs in RabbitMQ: the same meaning, the same order, and nobody starves."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.rabbitmq import audit
from tests.support.calls import expect
from tests.support.models import Echo, Recorder
from tests.support.servers.rabbitmq import RabbitNode
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys
from workers.queues.naming import queue_name, queue_names
from workers.queues.priorities import Priority

BACKLOG = 120
#: Older than the sweeper's patience, whatever its settings.
LONG_AGO_S = 3_600


@pytest.mark.long
def test_of_a_long_backlog_high_jobs_go_first_and_low_ones_are_done_before_its_end(
    service: Stack, rabbit: RabbitNode, name: str, tmp_path: Path
) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    service.register(name, Recorder(log, seconds=0.005, gate=gate))
    service.deploy(name, endpoint_name=name, max_batch_size=2)
    rows = [{"input": f"normal {number}"} for number in range(BACKLOG)]
    low = [{"input": f"low {number}", "priority": "low"} for number in range(6)]
    ids = expect(202, service.api.post(f"/predict/{name}/bulk", json=[*rows, *low]))["job_ids"]
    service.wait_until_running(ids[:1])
    body = {"input": "high", "priority": "high"}
    ids.append(expect(202, service.api.post(f"/predict/{name}", json=body))["job_id"])
    service.wait_until_reserved(service.workers[0], ids[-1:])
    # A number counts upwards here, as in any other queue of RabbitMQ.
    service.celery.send_task("predict", args=[name, "bare"], queue=queue_name(name, Priority.HIGH), priority=9)
    gate.touch()
    service.ended(ids)
    done = log.read_text().split("\n")[:-1]
    assert done.index("high") < 5
    assert max(done.index(each["input"]) for each in low) < BACKLOG - 20
    assert [each for each in done if each.startswith("normal")] == [each["input"] for each in rows]
    eventually(lambda: "bare" in log.read_text(), message="the bare job is done")
    eventually(lambda: audit.leftovers(service, rabbit, name, ids) == {}, message="nothing is left")


def test_jobs_wait_in_a_queue_for_each_priority_and_all_of_them_count(
    service: Stack, rabbit: RabbitNode, name: str
) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, worker_group=name, wait_s=0)
    levels = ["high", "low", "normal", "low"]
    body = [{"input": "a", "priority": level} for level in levels]
    ids = expect(202, service.api.post(f"/predict/{name}/bulk", json=body))["job_ids"]
    assert [rabbit.depth(queue) for queue in queue_names(name)] == [1, 1, 2]
    assert service.view(name)["queue_depth"] == 4
    service.deploy(name, endpoint_name=name, worker_group="default")
    service.outcomes(ids)
    eventually(lambda: audit.leftovers(service, rabbit, name, ids) == {}, message="nothing is left")


@pytest.mark.long
def test_a_queue_that_somebody_deletes_is_declared_again_while_the_others_are_consumed(
    service: Stack, rabbit: RabbitNode, name: str
) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    with rabbit.channel() as channel:
        channel.queue_delete(queue_name(name, Priority.LOW))
    assert service.predict(name, "normal")["prediction"] == ["m", "normal"]
    eventually(lambda: queue_name(name, Priority.LOW) in rabbit.queues(), message="it is there again")
    body, wait = {"input": "low", "priority": "low"}, {"Prefer": "wait=30"}
    answer = service.api.post(f"/predict/{name}", json=body, headers=wait)
    assert expect(200, answer)["prediction"] == ["m", "low"]
    consumers = {queue: rabbit.consumers(queue) for queue in queue_names(name)}
    assert consumers == dict.fromkeys(queue_names(name), 1), "nothing is consumed twice"


def test_a_lost_job_is_sent_to_the_queue_of_its_priority_again(service: Stack, rabbit: RabbitNode, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, worker_group=name, wait_s=0)
    answer = service.api.post(f"/predict/{name}", json={"input": "low", "priority": "low"})
    job_id = expect(202, answer)["job_id"]
    with redis.Redis.from_url(service.redis.url) as client:
        client.zincrby(keys.unfinished(name), -LONG_AGO_S, job_id)
    with rabbit.channel() as channel:
        channel.queue_purge(queue_name(name, Priority.LOW))
    eventually(lambda: rabbit.depth(queue_name(name, Priority.LOW)) == 1, 30, message="it is back")
    service.deploy(name, endpoint_name=name, worker_group="default")
    service.outcomes([job_id])


def test_each_priority_has_places_of_its_own_and_no_estimate_while_nobody_serves_them(
    service: Stack, rabbit: RabbitNode, name: str
) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, worker_group=name, wait_s=0)
    body = [{"input": "a", "priority": level} for level in ("low", "normal", "normal", "high")]
    ids = expect(202, service.api.post(f"/predict/{name}/bulk", json=body))["job_ids"]
    places = [service.job(job_id, 0)["queue"] for job_id in ids]
    assert [each["position"] for each in places] == [3, 1, 2, 0]
    assert {each["reason"] for each in places} == {"no_ready_worker"}
    assert [service.job(job_id, 0)["priority"] for job_id in ids] == ["low", "normal", "normal", "high"]
    service.deploy(name, endpoint_name=name, worker_group="default")
    service.outcomes(ids)
    assert [service.job(job_id, 0)["queue"] for job_id in ids] == [None] * 4
