"""Jobs of programs without our package for endpoints that don't exist fail in time; nothing else is touched."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest
import redis
from celery import Celery
from celery.result import AsyncResult

from registry import deployments
from registry.database import Database
from tests.support.service.environment import forget_cached_settings
from tests.workers.conftest import publish_successors
from tests.workers.judging.conftest import Workers
from workers import keys, tasks
from workers.endpoints import names, unknown_jobs
from workers.endpoints.unknown_jobs import UnknownJobs
from workers.endpoints.waiting import RedisQueues
from workers.errors import EndpointUnknown
from workers.jobs import query
from workers.jobs.query import JobState
from workers.platform.redis.client import records_client
from workers.settings import load

Send = Callable[..., "AsyncResult[object]"]


@pytest.fixture
def duty(store: redis.Redis, database: Database) -> UnknownJobs:
    return UnknownJobs(RedisQueues(store, beside_records=True), database)


@pytest.fixture
def send(bare_app: Celery) -> Send:
    def sent(endpoint_name: str, queue: str | None = None, **more: object) -> AsyncResult[object]:
        queue = queue or f"predict.{endpoint_name}"
        return bare_app.send_task("predict", args=[endpoint_name, 1], queue=queue, **more)

    return sent


def pass_time(store: redis.Redis, name: str, seconds: float = 61) -> None:
    """Let a name have been seen as unknown earlier."""
    store.hset(keys.UNKNOWN_ENDPOINTS, name, float(store.hget(keys.UNKNOWN_ENDPOINTS, name) or 0) - seconds)


def test_a_job_for_an_endpoint_that_does_not_exist_fails_after_the_time(
    duty: UnknownJobs, send: Send, store: redis.Redis
) -> None:
    jobs = [send("nothing"), send("nothing", queue="predict.nothing:high"), send("nothing", priority=9)]
    duty.look()
    assert query.recent("nothing") == []
    pass_time(store, "nothing")
    duty.look()
    for job in jobs:
        with pytest.raises(Exception, match="Nothing that takes jobs is deployed as 'nothing'"):
            job.get(timeout=5)
        found = query.get(str(job.id))
        assert (found.state, (found.error or {})["code"]) == (JobState.FAILED, EndpointUnknown.code)
    assert list(store.scan_iter("predict.*")) == []
    assert store.get(keys.UNKNOWN_ENDPOINTS_FAILED) == b"3"
    duty.look()
    assert store.hlen(keys.UNKNOWN_ENDPOINTS) == 0


@pytest.fixture(params=["", "k" * 40])
def message_key(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("QUEUECAST_MESSAGE_KEY", request.param)
    forget_cached_settings()
    yield request.param
    monkeypatch.undo()
    forget_cached_settings()


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
def test_what_follows_a_job_that_fails_so_is_told(
    duty: UnknownJobs, send: Send, store: redis.Redis, bare_app: Celery, message_key: str
) -> None:
    send("nothing", link_error=bare_app.signature("somebody.failed"), chain=[bare_app.signature("b", task_id="next")])
    duty.look()
    pass_time(store, "nothing")
    duty.look()
    publish_successors()
    # Where messages must be signed, what one says without a signature is not done.
    assert store.llen("celery") == (0 if message_key else 1)
    assert bare_app.AsyncResult("next").state == ("PENDING" if message_key else "FAILURE")
    assert not store.exists(keys.SUCCESSORS_DUE)


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
def test_what_follows_such_a_job_and_is_too_long_fails_with_it(
    duty: UnknownJobs, send: Send, store: redis.Redis, bare_app: Celery
) -> None:
    send("nothing", chain=[bare_app.signature("b", args=["x" * 400_000], task_id="next")])
    duty.look()
    pass_time(store, "nothing")
    duty.look()
    publish_successors()
    assert bare_app.AsyncResult("next").state == "FAILURE"


def test_a_deploy_that_comes_in_time_keeps_the_jobs(
    duty: UnknownJobs, send: Send, store: redis.Redis, database: Database
) -> None:
    send("late")
    duty.look()
    pass_time(store, "late")
    with database.session() as session:
        deployments.deploy(session, "m", version="1", endpoint_name="late")
        session.commit()
    duty.look()
    assert store.llen("predict.late") == 1
    assert store.hlen(keys.UNKNOWN_ENDPOINTS) == 0


def test_a_deploy_between_the_look_and_the_end_keeps_the_jobs(
    duty: UnknownJobs, send: Send, store: redis.Redis
) -> None:
    job = send("late")
    names.add(["late"])
    [found] = RedisQueues(store, beside_records=True).messages("late")
    assert not duty._failed("late", found)
    assert store.llen("predict.late") == 1
    assert job.state == "PENDING"


def test_a_message_that_a_worker_has_taken_meanwhile_is_left_to_it(
    duty: UnknownJobs, send: Send, store: redis.Redis
) -> None:
    job = send("late")
    [found] = RedisQueues(store, beside_records=True).messages("late")
    store.rpop("predict.late")
    assert not duty._failed("late", found)
    assert job.state == "PENDING"


def test_what_is_not_ours_stays(duty: UnknownJobs, send: Send, bare_app: Celery, store: redis.Redis) -> None:
    bare_app.send_task("other.task", queue="predict.nothing")
    bare_app.send_task("predict", args=["nothing", 1], queue="somebody's")
    store.lpush("predict.nothing", "no message")
    store.set("predict.text", "no list")
    store.lpush("predict.a b", "no name of an endpoint")
    send("nothing", countdown=3_600)
    tasks.predict.apply_async(("nothing", 1), must_exist=False)
    duty.look()
    pass_time(store, "nothing")
    duty.look()
    assert store.llen("predict.nothing") == 4
    assert store.llen("somebody's") == 1
    assert store.llen("predict.a b") == 1
    assert store.get(keys.UNKNOWN_ENDPOINTS_FAILED) is None


def test_jobs_of_an_endpoint_that_its_workers_still_finish_are_left_to_them(
    duty: UnknownJobs, send: Send, store: redis.Redis, database: Database
) -> None:
    workers = Workers(store, database)
    send("e")
    with database.session() as session:
        deployments.undeploy(session, "e", "drain")
        session.commit()
    # Without any worker of its group, nobody has finished it.
    duty.look()
    assert store.hlen(keys.UNKNOWN_ENDPOINTS) == 0
    workers.report_of_earlier_release("w1")
    duty.look()
    assert store.hlen(keys.UNKNOWN_ENDPOINTS) == 0
    report = json.loads(store.hget(keys.REPORTS, "w1") or b"")
    store.hset(keys.REPORTS, "w1", json.dumps({**report, "endpoints": {}}))
    duty.look()
    assert store.hkeys(keys.UNKNOWN_ENDPOINTS) == [b"e"]


def test_a_key_of_another_type_holds_up_no_other_endpoint(duty: UnknownJobs, send: Send, store: redis.Redis) -> None:
    store.set("predict.a:high", "no list")
    jobs = [send("a"), send("b")]
    duty.look()
    pass_time(store, "a")
    pass_time(store, "b")
    duty.look()
    assert query.get(str(jobs[1].id)).state is JobState.FAILED


def test_one_of_several_background_processes_looks(duty: UnknownJobs, send: Send, database: Database) -> None:
    looks: list[UnknownJobs] = []
    duties = [duty, UnknownJobs(RedisQueues(records_client(), beside_records=True), database)]
    for each in duties:
        each._unknown_s = 2.0
        each.look = lambda _stopping=None, each=each: looks.append(each)  # type: ignore[method-assign, misc]
    stopping = threading.Event()
    threads = [threading.Thread(target=each.run, args=(stopping,)) for each in duties]
    for thread in threads:
        thread.start()
    stopping.wait(0.8)
    stopping.set()
    for thread in threads:
        thread.join()
    assert len(looks) == 1


def test_queues_in_another_redis_than_the_records_are_looked_at_too(
    send: Send, store: redis.Redis, database: Database
) -> None:
    job = send("nothing")
    duty = UnknownJobs(RedisQueues(store, beside_records=False), database)
    duty.look()
    pass_time(store, "nothing")
    duty.look()
    assert query.get(str(job.id)).state is JobState.FAILED
    assert store.llen("predict.nothing") == 0


def test_it_is_turned_off_by_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    off = load().model_copy(update={"unknown_endpoint_s": 0.0})
    monkeypatch.setattr(unknown_jobs, "load", lambda: off)
    assert unknown_jobs.duties() == []
