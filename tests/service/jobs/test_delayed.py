"""Jobs with an `eta` or a `countdown` wait for their time and keep no other job waiting."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults.audit import leftovers
from tests.service.conftest import StartWorker
from tests.support.delayed import check_predicts_at_once, submit_delayed, submit_many_delayed, timestamp
from tests.support.models import Echo, Recorder
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.queues.naming import queue_name

#: In earlier releases so many stopped an endpoint for as long as they waited.
MANY = 10_000


@pytest.mark.long
def test_ten_thousand_delayed_jobs_keep_no_other_waiting(service: Stack, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name, max_batch_size=1)
    submit_many_delayed(service, name, MANY)
    check_predicts_at_once(service, name)
    eventually(lambda: service.view(name)["queue_depth"] == 0)
    view = service.view(name)
    assert (view["delayed_count"], view["status"]) == (MANY, "active")
    assert 500 < timestamp(view["next_due_at"]) - time.time() < 600
    service.undeploy(name, "reject")
    assert leftovers(service, name) == {}


def test_messages_of_a_program_with_celery_alone_keep_no_other_waiting(service: Stack, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name, max_batch_size=1)
    send = service.celery.send_task
    later = [send("predict", args=[name, "x"], queue=queue_name(name), countdown=600).id for _ in range(300)]
    check_predicts_at_once(service, name)
    assert service.view(name)["delayed_count"] == len(later)
    # They are jobs as others are.
    job = service.job(later[0], wait_s=0)
    assert (job["status"], job["queue"]) == ("queued", None)
    assert timestamp(job["not_before"]) - time.time() > 500
    assert service.api.delete(f"/jobs/{later[0]}").json()["status"] == "cancelled"
    assert service.view(name)["delayed_count"] == len(later) - 1


def test_delayed_jobs_run_once_and_not_before_their_time(service: Stack, name: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    service.register(name, Recorder(ran))
    service.deploy(name, endpoint_name=name)
    ours = submit_delayed(service, name, "ours", 3)
    bare = service.celery.send_task("predict", args=[name, "bare"], queue=queue_name(name), countdown=2)
    not_before = service.job(ours, wait_s=0)["not_before"]
    service.wait_until_known([bare.id])
    jobs = service.ended([ours, bare.id])
    assert {each["status"] for each in jobs} == {"succeeded"}
    assert timestamp(jobs[0]["started_at"]) >= timestamp(not_before) - 0.001
    assert sorted(ran.read_text().split()) == ["bare", "ours"]
    eventually(lambda: leftovers(service, name, [ours, bare.id]) == {}, message="nothing is left")


def test_draining_waits_for_delayed_jobs_says_so_and_rejecting_ends_them(service: Stack, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    job_id = submit_delayed(service, name, "x", 600)
    service.undeploy(name, "drain", wait_s=0)
    view = service.wait_for_status(name, "draining")
    assert "1 delayed job is due at" in view["reason"]
    assert service.job(job_id, wait_s=0)["status"] == "queued"
    service.undeploy(name, "reject")
    assert service.job(job_id)["error"]["code"] == "endpoint_undeployed"
    assert leftovers(service, name) == {}


def test_delayed_jobs_of_an_endpoint_that_is_parked_wait_for_the_next_deploy(service: Stack, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    soon = submit_delayed(service, name, "soon", 0.2)
    service.undeploy(name, "park")
    later = submit_delayed(service, name, "later", 0.2)
    service.deploy(name, endpoint_name=name)
    assert {each["status"] for each in service.ended([soon, later])} == {"succeeded"}


def test_a_delayed_job_outlives_its_worker_and_a_restart_of_redis(stack: Stack, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    worker = stack.start_worker("first")
    stack.register("noting", Recorder(ran))
    stack.deploy("noting", endpoint_name="noting")
    queue = queue_name("noting")
    ours = submit_delayed(stack, "noting", "ours", 5)
    bare = stack.celery.send_task("predict", args=["noting", "bare"], queue=queue, countdown=5).id
    eventually(lambda: stack.view("noting")["delayed_count"] == 2, message="both wait")
    not_before = [stack.job(job_id, wait_s=0)["not_before"] for job_id in (ours, bare)]
    worker.kill()
    stack.redis.stop()
    stack.redis.start()
    stack.start_worker("second")
    for job, moment in zip(stack.ended([ours, bare]), not_before, strict=True):
        assert (job["status"], job["attempts"]) == ("succeeded", 1)
        assert timestamp(job["started_at"]) >= timestamp(moment) - 0.001
    assert sorted(ran.read_text().split()) == ["bare", "ours"]


def test_remote_control_tells_of_delayed_jobs_and_refuses_what_would_change_nothing(
    service: Stack, name: str, group_worker: StartWorker
) -> None:
    worker = group_worker()
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name, worker_group=name)
    job_id = submit_delayed(service, name, "x", 600)
    control = service.celery.control
    inspect = control.inspect(destination=[worker.node_name], timeout=5)
    [scheduled] = inspect.scheduled()[worker.node_name]
    assert scheduled["request"]["id"] == job_id
    assert timestamp(scheduled["eta"]) > time.time()

    def told(command: str, **arguments: str) -> dict[str, str]:
        [answers] = control.broadcast(
            command, arguments=arguments, destination=[worker.node_name], reply=True, timeout=5
        )
        answer: dict[str, str] = answers[worker.node_name]
        return answer

    assert "queuecast keys" in told("rate_limit", task_name="predict", rate_limit="1/m")["error"]
    assert "timeout_s" in told("time_limit", task_name="predict", soft="1", hard="1")["error"]
    assert "ok" in told("cancel_consumer", queue="somebody-elses")
    assert service.predict(name, "a")["prediction"] == ["1", "a"]


@pytest.mark.parametrize("backlog", ["park", "reject"])
def test_an_endpoint_with_delayed_jobs_is_taken_down_at_once(service: Stack, name: str, backlog: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    submit_delayed(service, name, "x", 600)
    assert service.undeploy(name, backlog, wait_s=20)["status"] in ("parked", "undeployed")
