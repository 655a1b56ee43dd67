"""A deployment with a range of hosts on RabbitMQ: one worker consumes its queues, and hands them over when it stops."""

from __future__ import annotations

import pytest

from tests.rabbitmq import audit as queues
from tests.service.conftest import StartWorker
from tests.support.loads.load import Load
from tests.support.models import Echo
from tests.support.servers.rabbitmq import RabbitNode
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.queues.naming import queue_name


@pytest.mark.long
@pytest.mark.timeout(120)
def test_the_queues_are_consumed_by_the_worker_that_serves_and_handed_over_without_a_second_run(
    service: Stack, rabbit: RabbitNode, name: str, group_worker: StartWorker
) -> None:
    service.register(name, Echo("m", seconds=0.005))
    workers = [group_worker("a"), group_worker("b")]
    service.deploy(name, endpoint_name=name, worker_group=name, hosts={"min": 0, "max": 1}, idle_s=600.0)
    with Load(service.url, name, pause_s=0.01) as load:
        load.wait_for(20)
        eventually(lambda: len(service.serving(name)) == 1, 20, message="one worker serves")
        eventually(lambda: rabbit.queues()[queue_name(name)]["consumers"] == 1, 20, message="one worker consumes")
        [first] = service.serving(name)
        leaving = next(each for each in workers if each.node_name == first)
        heir = next(each for each in workers if each.node_name != first)
        leaving.terminate()
        eventually(lambda: service.serving(name) == {heir.node_name}, 30, message="the other one serves")
        load.wait_for(20)
        group_worker(leaving.name.removeprefix(name))
        eventually(lambda: service.serving(name) == {first}, 60, message="the first one serves again")
        eventually(lambda: rabbit.queues()[queue_name(name)]["consumers"] == 1, 20, message="one worker consumes")
        load.wait_for(20)
    assert load.refused == []
    documents = queues.check(service, rabbit, name, load.accepted, lambda row: ["m", row])
    assert {each["attempts"] for each in documents} == {1}
    assert service.view(name)["request_count"] == load.count
