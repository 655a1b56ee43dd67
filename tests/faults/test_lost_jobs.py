"""The sweeper, and the audit itself: a job that stands nowhere is sent again, and one that is lost is noticed."""

from __future__ import annotations

import uuid

import pytest
import redis

from tests.faults import audit
from tests.support.load import Accepted
from tests.support.models import Echo
from tests.support.stack import Stack
from tests.support.waiting import eventually
from workers import keys
from workers.queues import queue_name


def test_jobs_whose_messages_are_gone_are_sent_again(faulty: Stack) -> None:
    faulty.register("echo", Echo("m"))
    # A group without workers: the jobs wait in the queue, and the default group's worker sweeps.
    faulty.deploy("echo", endpoint_name="echo", worker_group="later", wait_s=0)
    jobs = faulty.submit_all("echo", "abcdef")
    with redis.Redis.from_url(faulty.redis.url) as client:
        assert client.llen(queue_name("echo")) == 6
        client.delete(queue_name("echo"))
        # As if it had happened a while ago.
        for job in jobs:
            client.zincrby(keys.unfinished("echo"), -3_600, job)
        faulty.start_worker("sweeper")
        eventually(lambda: client.llen(queue_name("echo")) == 6, message="they stand in the queue again")
    faulty.start_worker("later", group="later")
    assert [each["prediction"] for each in faulty.outcomes(jobs)] == [["m", row] for row in "abcdef"]
    eventually(lambda: audit.leftovers(faulty, "echo") == {}, message="nothing is left")


def test_jobs_that_only_wait_are_not_sent_again(faulty: Stack) -> None:
    faulty.register("echo", Echo("m"))
    faulty.deploy("echo", endpoint_name="echo", worker_group="later", wait_s=0)
    jobs = faulty.submit_all("echo", "abc")
    with redis.Redis.from_url(faulty.redis.url) as client:
        client.lpush(keys.ENDPOINTS + ":looked", 1)
        faulty.start_worker("sweeper").wait_until_ready()
        for _ in range(3):
            eventually(lambda: client.delete(keys.SWEPT) or client.exists(keys.SWEPT), 5, message="another sweep")
        assert client.llen(queue_name("echo")) == 3
    faulty.start_worker("later", group="later")
    assert {each["attempts"] for each in faulty.outcomes(jobs)} == {1}


def test_a_job_expires_in_time_although_no_worker_takes_it(faulty: Stack) -> None:
    faulty.register("echo", Echo("m"))
    faulty.deploy("echo", endpoint_name="echo", worker_group="later", wait_s=0)
    answer = faulty.api.post("/predict/echo", json={"input": "x", "expires_in_s": 0.2})
    faulty.start_worker("sweeper")
    assert faulty.job(answer.json()["job_id"])["status"] == "expired"
    kept = faulty.submit("echo", "y")
    faulty.start_worker("later", group="later")
    assert faulty.job(kept)["status"] == "succeeded"
    eventually(lambda: audit.leftovers(faulty, "echo") == {}, message="the expired job's message is dropped")


def test_the_audit_notices_a_job_that_was_lost_on_purpose(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, worker_group="nobody", wait_s=0)
    lost = service.submit(name, "x")
    with redis.Redis.from_url(service.redis.url) as client:
        client.delete(queue_name(name))
    with pytest.raises(AssertionError, match=f"{lost} is queued"):
        audit.check(service, name, [Accepted(lost, "x")], lambda row: ["m", row], 1)


def test_the_audit_notices_a_wrong_answer_an_unknown_id_and_what_is_left(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    job = Accepted(service.submit(name, "x"), "x")
    audit.check(service, name, [job], lambda row: ["m", row], 10)
    with pytest.raises(AssertionError, match="prediction"):
        audit.check(service, name, [job], lambda row: ["other", row], 1)
    with pytest.raises(AssertionError, match="is lost"):
        audit.check(service, name, [Accepted(uuid.uuid4().hex, "x")], lambda row: ["m", row], 1)
    with redis.Redis.from_url(service.redis.url) as client:
        client.zadd(keys.unfinished(name), {"somebody": 1e12})
    assert audit.leftovers(service, name) == {"unfinished": 1}
