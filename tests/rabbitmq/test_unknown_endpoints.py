"""Jobs of bare Celery programs for endpoints that don't exist, on a RabbitMQ with its management plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.models import Appending
from tests.support.servers.rabbitmq import RabbitNode
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def node(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    with RabbitNode(program, tmp_path_factory.mktemp("managed") / "node", management=True) as running:
        yield running


@pytest.fixture(scope="module")
def managed(node: RabbitNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    env = {
        "QUEUECAST_BROKER_URL": node.url,
        "QUEUECAST_RABBITMQ_MANAGEMENT_URL": node.management_url,
        "QUEUECAST_UNKNOWN_ENDPOINT_S": "3",
    }
    with Stack(tmp_path_factory.mktemp("managed"), env=env) as running:
        running.start_worker("worker")
        running.start_background()
        running.register("appending", Appending("a"))
        yield running


def test_a_job_for_no_endpoint_fails_and_other_queues_stay(managed: Stack, node: RabbitNode) -> None:
    managed.celery.send_task("predict", args=["nothing", "x"], queue="predict.nothing")
    other = managed.celery.send_task("other.task", queue="predict.nothing")
    somebodys = managed.celery.send_task("predict", args=["nothing", "x"], queue="somebodys")
    with node.channel() as channel:
        channel.queue_declare("failures", durable=True, auto_delete=False)
    told = managed.celery.signature("other.failed", queue="failures")
    job = managed.celery.send_task("predict", args=["nothing", "x"], queue="predict.nothing:high", link_error=told)
    with pytest.raises(Exception, match="Nothing that takes jobs is deployed as 'nothing'"):
        job.get(timeout=40)
    assert managed.job(job.id)["error"]["code"] == "endpoint_unknown"
    eventually(lambda: node.depth("predict.nothing") == 1, message="the other task is left")
    eventually(lambda: node.depth("failures") == 1, message="what follows the failure is sent")
    assert node.depth("somebodys") == 1
    assert other.state == somebodys.state == "PENDING"


def test_a_deploy_in_time_has_the_job(managed: Stack) -> None:
    job = managed.celery.send_task("predict", args=["late", "x"], queue="predict.late")
    managed.deploy("appending", endpoint_name="late")
    assert job.get(timeout=30)["prediction"] == "xa"


def test_a_pipeline_goes_through_the_queues_of_rabbitmq(managed: Stack) -> None:
    managed.deploy("appending", endpoint_name="one")
    body = {"steps": [{"endpoint_name": "one", "input": "x"}, {"endpoint_name": "one"}, {"endpoint_name": "one"}]}
    answer = managed.api.post("/pipelines", json=body, headers={"Prefer": "wait=30"})
    assert answer.json()["prediction"] == "xaaa"
