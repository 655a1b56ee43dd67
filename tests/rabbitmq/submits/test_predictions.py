"""From the submit to the outcome, with jobs in RabbitMQ and their records in Redis."""

from __future__ import annotations

from pathlib import Path

import amqp
import pytest
import redis
from celery import Celery

from tests.faults import audit
from tests.support.calls import expect, predictions
from tests.support.loads.load import Load
from tests.support.models import Echo, Gate, Mortal
from tests.support.servers.rabbitmq import RabbitNode
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys
from workers.queues import envelopes
from workers.queues.naming import queue_name

SAY_OUTCOME = """
import sys
from workers.tasks import predict
print(predict.delay(sys.argv[1], inputs=["a", "b"]).get(timeout=30)["predictions"])
"""
#: Sends the job and waits for nothing of ours: what a program does that never heard of this project.
SEND_BARE = """
import sys
from celery import Celery
app = Celery("bare", broker=sys.argv[1], backend=sys.argv[2])
result = app.send_task("predict", args=[sys.argv[3], "bare"], queue=f"predict.{sys.argv[3]}")
print(result.get(timeout=30)["prediction"] if sys.argv[4] == "wait" else result.id)
"""


def send_bare(service: Stack, rabbit: RabbitNode, endpoint_name: str, what: str) -> str:
    arguments = (rabbit.url, service.redis.url, endpoint_name, what)
    return service.run("-c", SEND_BARE, *arguments).stdout.strip()


def test_jobs_go_through_rabbitmq_and_their_records_are_in_redis(service: Stack, rabbit: RabbitNode, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name, worker_group=name, wait_s=0)
    waiting = service.submit_all(name, "abc")
    assert rabbit.depth(queue_name(name)) == 3
    with redis.Redis.from_url(service.redis.url) as client:
        assert client.llen(queue_name(name)) == 0
        assert client.zcard(keys.unfinished(name)) == 3
    view = service.view(name)
    assert view["queue_depth"] == 3
    assert 0 < view["oldest_job_age_s"] < 60

    service.deploy(name, endpoint_name=name, worker_group="default")
    outcomes = service.outcomes(waiting)
    assert predictions(outcomes) == [["1", row] for row in "abc"]
    assert {outcome["attempts"] for outcome in outcomes} == {1}
    # A worker's next report says that none waits there.
    eventually(lambda: service.view(name)["queue_depth"] == 0)
    assert service.view(name)["oldest_job_age_s"] is None
    assert service.predict(name, "d")["prediction"] == ["1", "d"]
    assert service.run("-c", SAY_OUTCOME, name).stdout == "[['1', 'a'], ['1', 'b']]\n"
    eventually(lambda: audit.leftovers(service, name, waiting) == {}, message="nothing is left")


def test_a_celery_app_without_our_code_sends_to_a_queue_that_we_have_declared(
    service: Stack, rabbit: RabbitNode, name: str
) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    assert send_bare(service, rabbit, name, "wait") == "['1', 'bare']"


def test_a_celery_app_without_our_code_may_be_the_first_to_declare_the_queue(
    service: Stack, rabbit: RabbitNode, name: str
) -> None:
    early = send_bare(service, rabbit, name, "don't wait")
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    service.wait_until_known([early])
    assert service.job(early)["outcome"]["prediction"] == ["1", "bare"]
    assert service.predict(name, "ours")["prediction"] == ["1", "ours"]


def test_messages_that_are_no_jobs_are_put_aside(service: Stack, rabbit: RabbitNode, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    with redis.Redis.from_url(service.redis.url) as client:
        client.delete(keys.MALFORMED)
        with rabbit.channel() as channel:
            for body, headers in ((b"\xff", None), (b"[]", {"task": "other", "id": "1"}), (b"", {"task": "predict"})):
                properties = {"application_headers": headers} if headers else {}
                channel.basic_publish(amqp.Message(body, **properties), routing_key=queue_name(name))
        eventually(lambda: client.llen(keys.MALFORMED) == 3, message="they are put aside")
        aside = [envelopes.decode(each) for each in client.lrange(keys.MALFORMED, 0, -1)]
    assert sorted(each.headers.get("task", "") for each in aside) == ["", "other", "predict"]
    assert service.predict(name, "a")["prediction"] == ["1", "a"]
    eventually(lambda: rabbit.depth(queue_name(name)) == 0, message="their messages are gone")


def test_a_message_of_protocol_1_fails_its_job_with_the_remedy(service: Stack, rabbit: RabbitNode, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    app = Celery(broker=service.env["QUEUECAST_BROKER_URL"], backend=service.redis.url, set_as_current=False)
    app.conf.task_protocol = 1
    result = app.send_task("predict", args=[name, "x"], queue=queue_name(name))
    with pytest.raises(Exception, match="task_protocol = 2"):
        result.get(timeout=20)
    eventually(lambda: rabbit.depth(queue_name(name)) == 0, message="its message is gone")
    app.close()


def test_a_job_waits_for_its_time_without_keeping_others_away(service: Stack, rabbit: RabbitNode, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name, max_batch_size=1)
    app = service.celery
    later = [app.send_task("predict", args=[name, "later"], queue=queue_name(name), countdown=600) for _ in range(9)]
    assert service.predict(name, "now")["prediction"] == ["1", "now"]
    soon = app.send_task("predict", args=[name, "soon"], queue=queue_name(name), countdown=0.3)
    assert soon.get(timeout=20)["prediction"] == ["1", "soon"]
    eventually(lambda: service.view(name)["delayed_count"] == len(later), message="they are reported as delayed")
    eventually(lambda: service.view(name)["queue_depth"] == 0)


def test_a_deadly_job_is_given_up_and_its_batch_mates_succeed(
    service: Stack, rabbit: RabbitNode, name: str, tmp_path: Path
) -> None:
    service.register(name, Mortal("1"))
    service.deploy(name, endpoint_name=name, max_attempts=2)
    gate = tmp_path / "gate"
    blocking = service.submit(name, str(gate))
    service.wait_until_running([blocking])
    deadly, mates = service.submit(name, "exit"), service.submit_all(name, "abc")
    gate.touch()
    assert predictions(service.outcomes(mates)) == [["1", row] for row in "abc"]
    job = service.job(deadly)
    assert (job["error"]["code"], job["attempts"], len(job["failures"])) == ("poison_job", 2, 2)
    letter = expect(200, service.api.get(f"/dead-letters/{deadly}"))
    assert letter["input"] == "exit"
    eventually(lambda: audit.leftovers(service, name, [deadly, *mates]) == {}, message="nothing is left")
    assert rabbit.depth(queue_name(name)) == 0


def test_a_swap_under_load_refuses_and_loses_nothing(service: Stack, rabbit: RabbitNode, name: str) -> None:
    service.register(name, Echo("1", seconds=0.002))
    service.register(name, Echo("2", seconds=0.002))
    service.deploy(name, version="1", endpoint_name=name, max_batch_size=4)
    with Load(service.url, name) as load:
        load.wait_for(40)
        service.deploy(name, version="2", endpoint_name=name, max_batch_size=8)
        load.wait_for(40)
    assert load.refused == []
    outcomes = service.outcomes(accepted.job_id for accepted in load.accepted)
    assert predictions(outcomes) == [
        [outcome["version"], each.row] for outcome, each in zip(outcomes, load.accepted, strict=True)
    ]
    assert outcomes[-1]["version"] == "2"


@pytest.mark.parametrize("backlog", ["drain", "reject", "park"])
def test_each_way_to_undeploy_does_what_it_says_with_the_backlog(
    service: Stack, rabbit: RabbitNode, name: str, tmp_path: Path, backlog: str
) -> None:
    gate = tmp_path / "gate"
    service.register(name, Gate("1"))
    service.deploy(name, endpoint_name=name, max_batch_size=1)
    running = service.submit(name, str(gate))
    service.wait_until_running([running])
    waiting = service.submit_all(name, "abcdef")
    service.undeploy(name, backlog, wait_s=0)
    if backlog == "reject":
        assert {job["error"]["code"] for job in service.ended(waiting)} == {"endpoint_undeployed"}
    if backlog == "park":
        eventually(lambda: rabbit.depth(queue_name(name)) == len(waiting), message="all are back in the queue")
        eventually(lambda: service.view(name)["queue_depth"] == len(waiting), message="and none is waiting elsewhere")
    gate.touch()
    assert predictions(service.outcomes([running])) == [["1", str(gate)]]
    if backlog == "drain":
        assert predictions(service.outcomes(waiting)) == [["1", row] for row in "abcdef"]
    if backlog == "park":
        service.wait_for_status(name, "parked")
        service.deploy(name, endpoint_name=name)
        outcomes = service.outcomes(waiting)
        assert predictions(outcomes) == [["1", row] for row in "abcdef"]
        assert {outcome["attempts"] for outcome in outcomes} == {1}
    eventually(lambda: audit.leftovers(service, name, [running, *waiting]) == {}, message="nothing is left")
    assert rabbit.depth(queue_name(name)) == 0


@pytest.mark.long
def test_a_worker_without_the_rabbitmq_extra_says_what_to_install(service: Stack) -> None:
    hidden = "import sys; sys.modules['aiormq'] = None; from celery.__main__ import main; main()"
    said = service.run("-c", hidden, *["-A", "workers.app", "worker", "--pool", "solo", "-n", "lone@%h"], check=False)
    assert "pip install 'queuecast[rabbitmq]'" in said.stdout + said.stderr
