"""The sweeper, and the audit itself: a job that stands nowhere is sent again, and one that is lost is noticed."""

from __future__ import annotations

import uuid

import pytest
import redis

from tests.faults import audit
from tests.support.loads.load import Accepted
from tests.support.models import Echo
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys
from workers.queues.naming import queue_name


def test_jobs_whose_messages_are_gone_are_sent_again(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    # A group without workers: the jobs wait in the queue, and the service's worker sweeps.
    service.deploy(name, endpoint_name=name, worker_group=name, wait_s=0)
    jobs = service.submit_all(name, "abcdef")
    with redis.Redis.from_url(service.redis.url) as client:
        assert client.llen(queue_name(name)) == 6
        with client.pipeline() as at_once:
            at_once.delete(queue_name(name))
            # As if it had happened a while ago.
            for job in jobs:
                at_once.zincrby(keys.unfinished(name), -3_600, job)
            at_once.execute()
        eventually(lambda: client.llen(queue_name(name)) == 6, message="they stand in the queue again")
    service.deploy(name, endpoint_name=name, worker_group="default")
    assert [each["prediction"] for each in service.outcomes(jobs)] == [["m", row] for row in "abcdef"]
    eventually(lambda: audit.leftovers(service, name) == {}, message="nothing is left")


def test_jobs_that_only_wait_are_not_sent_again(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, worker_group=name, wait_s=0)
    jobs = service.submit_all(name, "abc")
    with redis.Redis.from_url(service.redis.url) as client:
        for _ in range(3):
            eventually(lambda: client.delete(keys.SWEPT) or client.exists(keys.SWEPT), 5, message="another sweep")
        assert client.llen(queue_name(name)) == 3
    service.deploy(name, endpoint_name=name, worker_group="default")
    assert {each["attempts"] for each in service.outcomes(jobs)} == {1}


def test_a_job_expires_in_time_although_no_worker_takes_it(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, worker_group=name, wait_s=0)
    answer = service.api.post(f"/predict/{name}", json={"input": "x", "expires_in_s": 0.2})
    assert service.job(answer.json()["job_id"])["status"] == "expired"
    kept = service.submit(name, "y")
    service.deploy(name, endpoint_name=name, worker_group="default")
    assert service.job(kept)["status"] == "succeeded"
    eventually(lambda: audit.leftovers(service, name) == {}, message="the expired job's message is dropped")


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
