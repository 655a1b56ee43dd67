"""What clients and operators find with RabbitMQ as they find it with Redis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from amqp.exceptions import PreconditionFailed
from celery import Celery

from tests.rabbitmq import audit
from tests.support.calls import expect, predictions
from tests.support.models import Echo, Gate
from tests.support.servers import webhook_receiver
from tests.support.servers.rabbitmq import RabbitNode
from tests.support.servers.webhook_receiver import WebhookReceiver
from tests.support.service.ports import free_port
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.queues.naming import queue_name

#: Sends a job as a Python program with our package does.
DELAY = """
import json, sys
from workers.tasks import predict
print(json.dumps(predict.delay(sys.argv[1], "a").get(timeout=30)["prediction"]))
"""
ROWS = [f"row {number}" for number in range(200)]


@pytest.fixture
def echo(service: Stack, name: str) -> str:
    """The name of an endpoint that answers with its mark and the row."""
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, max_batch_size=16)
    return name


def answers(rows: list[str]) -> list[Any]:
    return [["m", row] for row in rows]


def test_many_inputs_and_synchronous_calls(service: Stack, echo: str) -> None:
    assert service.predict(echo, "now")["prediction"] == ["m", "now"]
    body = {"inputs": ROWS}
    outcome = expect(200, service.api.post(f"/predict/{echo}", json=body, headers={"Prefer": "wait=30"}))
    assert outcome["predictions"] == answers(ROWS)


def test_compressed_and_large_messages_are_run_and_a_bomb_fails_its_job(service: Stack, echo: str) -> None:
    rows = ["small", "x" * 2_000_000]
    results = [
        service.celery.send_task("predict", args=[echo, row], queue=queue_name(echo), compression=compression)
        for row in rows
        for compression in ("gzip", None)
    ]
    assert [each.get(timeout=30)["prediction"][1] for each in results] == [row for row in rows for _ in range(2)]
    bomb = service.celery.send_task(
        "predict", args=[echo, "x" * 17_000_000], queue=queue_name(echo), compression="bzip2"
    )
    with pytest.raises(Exception, match="QUEUECAST_MAX_BODY_BYTES"):
        bomb.get(timeout=30)
    assert service.predict(echo, "next")["prediction"] == ["m", "next"]


@pytest.mark.long
def test_a_celery_app_without_our_code_must_say_that_a_queue_is_a_quorum_queue(
    service: Stack, rabbit: RabbitNode, name: str
) -> None:
    with rabbit.channel() as channel:
        arguments = {"x-queue-type": "quorum"}
        channel.queue_declare(queue_name(name), durable=True, auto_delete=False, arguments=arguments)
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    job_ids = service.submit_all(name, ROWS)
    assert predictions(service.outcomes(job_ids)) == answers(ROWS)
    with pytest.raises(PreconditionFailed):
        service.celery.send_task("predict", args=[name, "bare"], queue=f"predict.{name}")
    with Celery("quorum", broker=rabbit.url, backend=service.redis.url, set_as_current=False) as app:
        app.conf.task_create_missing_queue_type = "quorum"
        sent = app.send_task("predict", args=[name, "bare"], queue=f"predict.{name}")
        assert sent.get(timeout=30)["prediction"] == ["m", "bare"]
    assert rabbit.queues()[queue_name(name)]["type"] == "quorum"
    eventually(lambda: audit.leftovers(service, rabbit, name, job_ids) == {}, message="nothing is left")


def test_a_cancelled_job_never_runs(service: Stack, rabbit: RabbitNode, name: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    service.register(name, Gate("m"))
    service.deploy(name, endpoint_name=name, max_batch_size=1)
    running = service.submit(name, str(gate))
    service.wait_until_running([running])
    waiting = service.submit_all(name, "abcdef")
    expect(200, service.api.delete(f"/jobs/{waiting[-1]}"))
    gate.touch()
    assert service.job(waiting[-1])["status"] == "cancelled"
    service.outcomes([running, *waiting[:-1]])
    eventually(lambda: audit.leftovers(service, rabbit, name, waiting) == {}, message="nothing is left")


@pytest.mark.long
def test_everybody_goes_to_the_next_node_where_the_first_cannot_be_reached(
    service: Stack, rabbit: RabbitNode, name: str
) -> None:
    service.register(name, Echo("m"))
    urls = f"amqp://127.0.0.1:{free_port()}//;{rabbit.url}"
    service.start_worker(f"{name}a", group=name, env={"QUEUECAST_BROKER_URL": urls})
    service.deploy(name, endpoint_name=name, worker_group=name)
    program = f"import os; os.environ['QUEUECAST_BROKER_URL'] = {urls!r}; " + DELAY
    assert json.loads(service.run("-c", program, name).stdout) == ["m", "a"]


def test_the_extra_is_loaded_only_by_a_worker_that_takes_jobs_from_rabbitmq(service: Stack) -> None:
    program = "import sys, workers.engine.engine; print('aiormq' in sys.modules)"
    assert service.run("-c", program).stdout.strip() == "False"


def test_the_ends_of_jobs_are_told_by_way_of_rabbitmq(service: Stack, echo: str) -> None:
    service.start_background(webhook_receiver.environment())
    with WebhookReceiver() as receiver:
        service.deploy(echo, endpoint_name=echo, callback_url=receiver.url)
        job_id = service.submit(echo, "a")
        eventually(lambda: receiver.jobs == [job_id])
        url = f"/webhooks/deliveries/{job_id}"
        eventually(lambda: expect(200, service.api.get(url))["status"] == "delivered")


def test_the_journal_keeps_jobs_that_came_by_way_of_rabbitmq(service: Stack, echo: str) -> None:
    service.deploy(echo, endpoint_name=echo, journal=1)
    ids = [service.submit(echo, "a"), service.celery.send_task("predict", args=[echo, "b"], queue=queue_name(echo)).id]
    service.wait_until_known(ids)
    service.outcomes(ids)
    answer = service.api.get(f"/deployments/{echo}/journal")
    found = {each["job_id"]: each["predictions"] for each in map(json.loads, answer.text.splitlines())}
    assert found == {ids[0]: [["m", "a"]], ids[1]: [["m", "b"]]}
