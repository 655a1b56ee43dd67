"""Jobs on their way from every kind of client through RabbitMQ to a model and into their records."""

from __future__ import annotations

import json
import sys
from typing import Any

import amqp
import httpx
import pytest
import redis
from celery import Celery

from tests.rabbitmq import audit
from tests.support.calls import Document, expect, predictions
from tests.support.models import Echo, Gate, Mortal
from tests.support.rabbitmq import RabbitNode
from tests.support.stack import Stack
from tests.support.waiting import eventually
from workers.queues import queue_name

ROWS = [f"row {number}" for number in range(200)]

#: Sends jobs as a Python program with our package does.
DELAY = """
import json, sys
from workers.tasks import predict
endpoint, rows = json.load(sys.stdin)
sent = [predict.delay(endpoint, row) for row in rows]
print(json.dumps([[each.id, each.get(timeout=30)] for each in sent]))
"""


@pytest.fixture
def echo(service: Stack, name: str) -> str:
    """The name of an endpoint that answers with its mark and the row."""
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, max_batch_size=16)
    return name


def answers(rows: list[str]) -> list[Any]:
    return [["m", row] for row in rows]


def test_jobs_go_from_http_through_rabbitmq_to_a_worker_and_their_outcomes_to_redis(
    service: Stack, rabbit: RabbitNode, echo: str
) -> None:
    job_ids = service.submit_all(echo, ROWS)
    outcomes = service.outcomes(job_ids)
    assert predictions(outcomes) == answers(ROWS)
    with redis.Redis.from_url(service.redis.url) as client:
        assert not client.exists(queue_name(echo)), "the queue is in RabbitMQ, and nowhere else"
    eventually(lambda: audit.leftovers(service, rabbit, echo, job_ids) == {}, message="nothing is left")
    assert service.view(echo)["request_count"] == len(ROWS)


def test_many_inputs_and_synchronous_calls(service: Stack, echo: str) -> None:
    assert service.predict(echo, "now")["prediction"] == ["m", "now"]
    body = {"inputs": ROWS}
    outcome = expect(200, service.api.post(f"/predict/{echo}", json=body, headers={"Prefer": "wait=30"}))
    assert outcome["predictions"] == answers(ROWS)


def test_predict_delay(service: Stack, echo: str) -> None:
    said = json.loads(service.run("-c", DELAY, stdin=json.dumps([echo, ROWS])).stdout)
    assert [outcome["prediction"] for _, outcome in said] == answers(ROWS)
    assert service.job(said[0][0], wait_s=0)["outcome"] == said[0][1]


def test_a_celery_app_without_our_code(service: Stack, echo: str) -> None:
    app = service.celery
    sent = [app.send_task("predict", args=[echo, row], queue=f"predict.{echo}") for row in ROWS]
    assert predictions(result.get(timeout=30) for result in sent) == answers(ROWS)
    assert service.job(sent[0].id, wait_s=0)["status"] == "succeeded"


def test_a_job_that_celery_sends_before_the_first_deploy_waits_for_it(service: Stack, name: str) -> None:
    sent = service.celery.send_task("predict", args=[name, "early"], queue=f"predict.{name}")
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    assert sent.get(timeout=30)["prediction"] == ["m", "early"]


def test_a_quorum_queue_that_is_there_already_is_taken_as_it_is(service: Stack, rabbit: RabbitNode, name: str) -> None:
    with amqp.Connection(**rabbit.parameters) as connection:
        arguments = {"x-queue-type": "quorum"}
        connection.channel().queue_declare(queue_name(name), durable=True, auto_delete=False, arguments=arguments)
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    job_ids = service.submit_all(name, ROWS)
    assert predictions(service.outcomes(job_ids)) == answers(ROWS)
    app = Celery("quorum", broker=rabbit.url, backend=service.redis.url, set_as_current=False)
    # Else Celery declares a classic queue, which RabbitMQ refuses.
    app.conf.task_create_missing_queue_type = "quorum"
    with app:
        sent = app.send_task("predict", args=[name, "bare"], queue=f"predict.{name}")
        assert sent.get(timeout=30)["prediction"] == ["m", "bare"]
    assert rabbit.queues()[queue_name(name)]["type"] == "quorum"
    eventually(lambda: audit.leftovers(service, rabbit, name, job_ids) == {}, message="nothing is left")


def test_a_job_with_a_countdown_runs_when_its_time_has_come_and_keeps_nobody_away(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, max_batch_size=2)
    app, queue = service.celery, f"predict.{name}"
    late = [app.send_task("predict", args=[name, f"late {n}"], queue=queue, countdown=4) for n in range(20)]
    sent = [app.send_task("predict", args=[name, row], queue=queue) for row in ROWS[:20]]
    assert predictions(result.get(timeout=30) for result in sent) == answers(ROWS[:20])
    ended = [result.get(timeout=30) for result in late]
    assert predictions(ended) == answers([f"late {n}" for n in range(20)])
    assert min(outcome["timing"]["total_ms"] for outcome in ended) >= 4_000


def test_a_cancelled_job_never_runs(service: Stack, rabbit: RabbitNode, name: str, tmp_path: Any) -> None:
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


def test_a_job_that_kills_its_host_becomes_a_dead_letter_and_hurts_no_other(
    service: Stack, rabbit: RabbitNode, name: str
) -> None:
    service.register(name, Mortal("m"))
    service.deploy(name, endpoint_name=name, max_batch_size=8, max_attempts=2)
    before = service.submit_all(name, ROWS[:20])
    poison = service.submit(name, "kill")
    after = service.submit_all(name, ROWS[20:40])
    document = service.job(poison)
    assert (document["status"], document["error"]["code"]) == ("failed", "poison_job")
    letter: Document = expect(200, service.api.get(f"/dead-letters/{poison}"))
    assert letter["input"] == "kill"
    assert predictions(service.outcomes(before + after)) == answers(ROWS[:40])
    eventually(lambda: audit.leftovers(service, rabbit, name, [poison]) == {}, message="nothing is left")
    again = expect(202, service.api.post(f"/dead-letters/{poison}/replay", json={}))
    assert service.job(again["job_id"])["status"] == "failed"


def test_a_message_that_is_no_job_is_put_aside_and_holds_nobody_up(
    service: Stack, rabbit: RabbitNode, echo: str
) -> None:
    with amqp.Connection(**rabbit.parameters) as connection:
        message = amqp.Message(b"not a task", delivery_mode=2)
        connection.channel().basic_publish(message, exchange="", routing_key=queue_name(echo))
    assert service.predict(echo, "next")["prediction"] == ["m", "next"]
    eventually(lambda: audit.leftovers(service, rabbit, echo) == {}, message="it is not in the queue any more")


def test_flower_and_inspect_see_workers_and_jobs(service: Stack, echo: str) -> None:
    [worker] = service.workers[:1]
    with service.flower(worker) as url, httpx.Client(base_url=url) as flower:
        job_id = service.submit(echo, "watched")

        def shown() -> bool:
            found = flower.get("/api/tasks").json().get(job_id, {})
            return bool(found.get("state") == "SUCCESS" and found["worker"] == worker.node_name)

        eventually(shown, message="Flower shows the job")
    done = service.run(
        "-m", "celery", "-A", "workers.app", "inspect", "--json", "-t", "10", "-d", worker.node_name, "ping"
    )
    assert json.loads(done.stdout) == {worker.node_name: {"ok": "pong"}}


def test_nothing_of_amqp_is_loaded_where_redis_is_the_broker(service: Stack) -> None:
    program = "import sys, workers.engine.engine; print('aiormq' in sys.modules)"
    assert service.run("-c", program).stdout.strip() == "False"
    assert "aiormq" not in sys.modules
