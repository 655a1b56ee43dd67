"""Faults injected into real workers and a real RabbitMQ: every accepted job has the one right end."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest
import redis

from tests.faults import audit
from tests.rabbitmq import audit as queues
from tests.service.conftest import StartWorker
from tests.support.calls import expect, predictions
from tests.support.loads.load import Load
from tests.support.models import Echo, Gate, Recorder
from tests.support.servers.rabbitmq import RabbitNode
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys
from workers.queues.naming import queue_name, queue_names

#: Older than the sweeper's patience, whatever its settings.
LONG_AGO_S = 3_600


def echoed(row: str) -> list[str]:
    return ["m", row]


def check_refused(answer: httpx.Response) -> None:
    assert expect(503, answer)["code"] in ("queue_unavailable", "job_unconfirmed")
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.elapsed.total_seconds() < 2, "the issue's bound for a submit without a broker"


def test_killed_workers_lose_no_job(service: Stack, rabbit: RabbitNode, name: str, group_worker: StartWorker) -> None:
    service.register(name, Echo("m", seconds=0.002))
    first = group_worker("a")
    service.deploy(name, endpoint_name=name, worker_group=name, max_batch_size=8)
    with Load(service.url, name) as load:
        load.wait_for(60)
        first.kill()
        group_worker("a")
        load.wait_for(60)
    assert load.refused == []
    queues.check(service, rabbit, name, load.accepted, echoed)


def test_jobs_of_a_killed_worker_come_back_and_only_the_one_that_ran_has_lost_an_attempt(
    service: Stack, name: str, group_worker: StartWorker, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    service.register(name, Gate("m"))
    victim = group_worker("a")
    service.deploy(name, endpoint_name=name, worker_group=name, max_batch_size=4)
    jobs = [service.submit(name, str(gate))]
    service.wait_until_running(jobs)
    jobs += service.submit_all(name, "abcdefghi")
    heir = group_worker("b")
    eventually(lambda: len(service.serving(name)) == 2, message="the heir is ready")
    victim.kill()
    gate.touch()
    documents = service.ended(jobs)
    assert {each["status"] for each in documents} == {"succeeded"}
    assert {each["outcome"]["worker"] for each in documents} == {heir.node_name}
    assert [each["attempts"] for each in documents] == [2] + [1] * 9
    assert victim.node_name in documents[0]["failures"][0]["reason"]


def test_sigterm_gives_queued_jobs_back_at_once_and_finishes_the_running_one(
    service: Stack, name: str, group_worker: StartWorker, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    leaving = group_worker("a", QUEUECAST_SHUTDOWN_GRACE_S="30")
    service.register(name, Gate("m"))
    service.deploy(name, endpoint_name=name, worker_group=name, max_batch_size=2)
    running = service.submit(name, str(gate))
    service.wait_until_running([running])
    waiting = service.submit_all(name, "abc")
    eventually(lambda: held(service, waiting) == set(waiting), message="it has taken the other jobs")
    staying = group_worker("b")
    eventually(lambda: len(service.serving(name)) == 2, message="both workers serve it")
    leaving.send(signal.SIGTERM)
    outcomes = service.outcomes(waiting)
    assert {outcome["worker"] for outcome in outcomes} == {staying.node_name}
    assert {outcome["attempts"] for outcome in outcomes} == {1}
    assert leaving.running, "its last job still runs"
    gate.touch()
    [outcome] = service.outcomes([running])
    assert (outcome["worker"], outcome["attempts"]) == (leaving.node_name, 1)
    assert leaving.wait() == 0


def held(service: Stack, job_ids: list[str]) -> set[str]:
    """Those of the jobs that workers say they hold."""
    with redis.Redis.from_url(service.redis.url) as client:
        runs_out_at = client.zmscore(keys.LEASES, job_ids)
    return {job_id for job_id, at in zip(job_ids, runs_out_at, strict=True) if at is not None}


@pytest.mark.timeout(120)
def test_rabbitmq_is_killed_and_restarted_under_load(
    service: Stack, rabbit: RabbitNode, name: str, tmp_path: Path
) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    service.register(name, Echo("m", seconds=0.002))
    service.deploy(name, endpoint_name=name, max_batch_size=8)
    recorder = f"{name}-recorder"
    service.register(recorder, Recorder(runs, gate=gate))
    service.deploy(recorder, endpoint_name=recorder)
    through = service.submit(recorder, "a")
    service.wait_until_running([through])
    with Load(service.url, name) as load:
        load.wait_for(60)
        rabbit.kill()
        load.pause_s = 0.2
        load.wait_for_refusals(3)
        health = expect(503, service.api.get("/health/ready"))
        assert {part for part, each in health["parts"].items() if each["status"] != "ready"} == {"rabbitmq"}
        assert service.job(load.accepted[0].job_id)["status"] == "succeeded"
        rabbit.start()
        service.forget_celery()
        assert service.api.get("/health/ready").status_code == 200
        load.pause_s = 0.003
        load.wait_for(60)
    for answer in load.refused:
        check_refused(answer)
    queues.check(service, rabbit, name, load.accepted, echoed)

    # The connection over which it came was lost while it ran: it runs on, and is acknowledged over the new one.
    gate.touch()
    [outcome] = service.outcomes([through])
    assert outcome["attempts"] == 1
    assert runs.read_text().split() == ["a"]
    eventually(lambda: audit.leftovers(service, recorder, [through]) == {}, message="nothing is left")
    assert [rabbit.depth(queue_name(each)) for each in (name, recorder)] == [0, 0]
    ping = service.celery.control.inspect(destination=[service.workers[0].node_name], timeout=1)
    eventually(lambda: bool(ping.ping()), 20, message="remote control answers again")


def test_a_submit_to_a_rabbitmq_that_does_not_answer_fails_in_time_and_may_be_repeated(
    service: Stack, rabbit: RabbitNode, name: str
) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    service.predict(name, "before")

    def submit() -> httpx.Response:
        headers = {"Idempotency-Key": f"key of {name}"}
        return service.api.post(f"/predict/{name}", json={"input": "a"}, headers=headers)

    rabbit.freeze()
    try:
        first = submit()
        check_refused(first)
        assert first.json()["code"] == "job_unconfirmed"
    finally:
        rabbit.thaw()
    second = submit()
    assert second.status_code in (200, 202)  # it may have ended by then
    answer = second.json()
    assert answer["job_id"] == first.json()["job_id"]
    assert service.job(answer["job_id"])["outcome"]["prediction"] == ["m", "a"]
    # What RabbitMQ had all the same is that job: nothing else was made of it.
    eventually(lambda: rabbit.depth(queue_name(name)) == 0, message="nothing is left")
    assert [each["job_id"] for each in service.api.get(f"/jobs?endpoint_name={name}").json()["jobs"][:-1]] == [
        answer["job_id"]
    ]


def test_readiness_says_that_rabbitmq_takes_no_messages(service: Stack, rabbit: RabbitNode, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    rabbit.be_short_of_memory(True)
    try:
        health = expect(503, service.api.get("/health/ready"))
        assert {part for part, each in health["parts"].items() if each["status"] != "ready"} == {"rabbitmq"}
        assert "short of memory" in health["parts"]["rabbitmq"]["detail"]
        check_refused(service.api.post(f"/predict/{name}", json={"input": "a"}))
    finally:
        rabbit.be_short_of_memory(False)
    eventually(lambda: service.api.get("/health/ready").status_code == 200, message="it takes messages again")
    assert service.predict(name, "after")["prediction"] == ["m", "after"]


def test_queues_that_are_deleted_leave_no_channels_behind(service: Stack, rabbit: RabbitNode, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    service.predict(name, "before")
    worker = service.workers[0].node_name
    before = rabbit.channels_of(worker)
    for row in "abc":
        with rabbit.channel() as channel:
            channel.queue_delete(queue_name(name))
        assert service.predict(name, row)["prediction"] == ["m", row]
    eventually(lambda: rabbit.channels_of(worker) <= before, interval_s=0.5, message="no more channels than before")


def test_the_queues_of_an_endpoint_go_some_time_after_it_was_undeployed_and_come_back_with_it(
    service: Stack, rabbit: RabbitNode, name: str, group_worker: StartWorker
) -> None:
    group_worker("a", QUEUECAST_UNUSED_QUEUE_TTL_S="0")
    service.register(name, Echo("m"))
    for endpoint in (name, f"{name}-parked", f"{name}-not-yet"):
        group = "default" if endpoint.endswith("yet") else name
        service.deploy(name, endpoint_name=endpoint, worker_group=group)
        service.predict(endpoint, "before")
    kept = {*queue_names(f"{name}-parked"), *queue_names(f"{name}-not-yet")}
    service.undeploy(f"{name}-parked", "park")
    service.undeploy(f"{name}-not-yet")  # its worker keeps queues for a day
    service.undeploy(name)
    eventually(
        lambda: {queue for queue in rabbit.queues() if queue.startswith(queue_name(name))} == kept,
        interval_s=0.5, message="the queues are gone, and no others",
    )  # fmt: skip
    with redis.Redis.from_url(service.redis.url) as client:
        assert not set(client.hkeys(keys.HEADS)) & {queue.encode() for queue in queue_names(name)}
    service.deploy(name, endpoint_name=name, worker_group=name)
    with Load(service.url, name) as load:  # over lines that know the queues of before
        load.wait_for(20)
    assert load.refused == []
    queues.check(service, rabbit, name, load.accepted, echoed)


def test_jobs_go_on_whose_queue_is_deleted_under_them(
    service: Stack, rabbit: RabbitNode, name: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    service.register(name, Gate("m"))
    service.deploy(name, endpoint_name=name, max_batch_size=4)
    jobs = [service.submit(name, str(gate))]
    service.wait_until_running(jobs)
    jobs += service.submit_all(name, "abc")
    eventually(lambda: held(service, jobs) == set(jobs), message="all are taken")
    with rabbit.channel() as channel:
        channel.queue_delete(queue_name(name))
    assert service.submit(name, "after"), "a publisher declares it again"
    gate.touch()
    assert predictions(service.outcomes(jobs)) == [["m", row] for row in (str(gate), *"abc")]
    assert service.predict(name, "later")["prediction"] == ["m", "later"]


def test_many_jobs_go_to_a_queue_that_was_deleted_since_the_last_one(
    service: Stack, rabbit: RabbitNode, name: str
) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, worker_group=name, wait_s=0)
    service.submit(name, "before")  # the API knows now that the queue is there
    with rabbit.channel() as channel:
        channel.queue_delete(queue_name(name))
    many = [{"input": row} for row in "abc"]
    assert len(expect(202, service.api.post(f"/predict/{name}/bulk", json=many))["job_ids"]) == len(many)
    assert rabbit.depth(queue_name(name)) == len(many)


def test_lost_messages_are_sent_again_also_when_others_wait(
    service: Stack, rabbit: RabbitNode, name: str, group_worker: StartWorker, tmp_path: Path
) -> None:
    gate, queue = tmp_path / "gate", queue_name(name)
    service.register(name, Gate("m"))
    service.deploy(name, endpoint_name=name, worker_group=name, max_batch_size=1, wait_s=0)
    lost = service.submit_all(name, "abc")
    with rabbit.channel() as channel:
        assert channel.queue_purge(queue) == len(lost)
    with redis.Redis.from_url(service.redis.url) as client:
        # The queue is empty: the jobs are nowhere.
        client.zincrby(keys.unfinished(name), -LONG_AGO_S, lost[0])
        eventually(lambda: rabbit.depth(queue) == 1, message="the first is sent again")
        # It isn't, but what was submitted later has left it.
        group_worker("a")
        blocking = service.submit(name, str(gate))
        service.wait_until_running([blocking])
        waiting = service.submit_all(name, "defgh")
        eventually(lambda: rabbit.depth(queue) == len(waiting) - 1, message="one is taken, the others wait")
        client.zincrby(keys.unfinished(name), -LONG_AGO_S, lost[1])
        eventually(lambda: rabbit.depth(queue) == len(waiting), message="the second is sent again")
    gate.touch()
    found = service.outcomes([*lost[:2], blocking, *waiting])
    assert predictions(found) == [["m", row] for row in ("a", "b", str(gate), *"defgh")]
    assert {each["attempts"] for each in found} == {1}
    assert service.job(lost[2], wait_s=0)["status"] == "queued", "it is too young to be called lost"


def test_a_worker_whose_name_is_still_taken_waits_until_it_is_free(
    service: Stack, name: str, group_worker: StartWorker
) -> None:
    first = group_worker("a")
    second = service.start_worker(f"{name}a", group=name, wait=False)
    second.wait_for_log("RESOURCE_LOCKED")
    first.kill()
    second.wait_until_ready()
    assert second.terminate() == 0
