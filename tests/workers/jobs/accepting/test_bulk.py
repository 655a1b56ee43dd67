"""Many jobs in one call: each a full job, all of them or none, and nothing twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import redis
from celery.result import AsyncResult
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.servers.proxy import Proxy
from tests.support.service.environment import forget_cached_settings
from tests.support.service.ports import free_port
from tests.support.waiting import eventually
from tests.workers.conftest import message_of, submit
from workers import keys, tasks
from workers.broker import broker_client
from workers.errors import (
    BulkInterrupted,
    BulkTooLarge,
    IdempotencyConflict,
    JobArgumentsWrong,
    QueueFull,
    QueueUnavailable,
)
from workers.jobs import accept, bulk, dead_letters, query, records
from workers.jobs.accept import Idempotency, Limits
from workers.jobs.bulk import NewJob
from workers.jobs.job import JobOptions
from workers.jobs.query import JobState
from workers.platform.lua import Lua, script
from workers.queues import envelopes
from workers.queues.naming import queue_name
from workers.queues.priorities import Priority

QUEUE = queue_name("adding")
ONCE = Idempotency("key", b"request")


def rows(count: int) -> list[NewJob]:
    return [NewJob({"input": number}) for number in range(count)]


def queued(store: redis.Redis) -> list[Any]:
    """What stands in the queue, the next job first."""
    messages = store.lrange(QUEUE, 0, -1)
    assert isinstance(messages, list)
    return [envelopes.decode(each) for each in reversed(messages) if isinstance(each, bytes)]


def inputs(found: list[envelopes.Envelope]) -> list[Any]:
    return [each.arguments()[0][1] for each in found]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "CHUNK_JOBS", 10)


def test_jobs_are_stored_in_order_each_as_a_single_submit_stores_it(store: redis.Redis) -> None:
    job_ids = bulk.submit("adding", rows(25))
    assert len(set(job_ids)) == 25
    found = queued(store)
    assert [each.headers["id"] for each in found] == job_ids
    assert inputs(found) == list(range(25))
    assert [job.job_id for job in query.recent("adding", limit=25)] == job_ids[::-1]
    single = submit(row=24)
    assert shape(store, single.job_id) == shape(store, job_ids[24])


def test_long_inputs_make_small_chunks(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "CHUNK_BYTES", 1_000)
    store.config_resetstat()
    texts = ["x" * 100, "y" * 5_000, "z" * 5_000, "a" * 400, "b" * 400, "c" * 400]
    bulk.submit("adding", [NewJob({"input": each}) for each in texts])
    assert inputs(queued(store)) == texts
    assert store.info("commandstats")["cmdstat_evalsha"]["calls"] == 5


def shape(store: redis.Redis, job_id: str) -> Any:
    """All that is stored of a job, without what is each job's own."""
    job, message = query.get(job_id), store.get(keys.message(job_id))
    assert isinstance(message, bytes)
    envelope = json.loads(message)
    del envelope["headers"][keys.SUBMITTED_AT_HEADER]
    text = json.dumps([envelope, job.state, job.expires_at]).replace(job_id, "")
    record, copy = keys.record(job_id), keys.message(job_id)
    ttls = [-5 < store.ttl(each) - store.ttl(keys.recent("adding")) < 5 for each in (record, copy)]
    places = [
        store.zscore(key, job_id) == job.submitted_at for key in (keys.unfinished("adding"), keys.recent("adding"))
    ]
    return text, ttls, places, store.lpos(QUEUE, message) is not None  # type: ignore[arg-type, unused-ignore]


def test_each_of_many_is_a_full_job(store: redis.Redis) -> None:
    jobs = [NewJob({"input": 1}), NewJob({"inputs": [1, None]}, JobOptions(60)), NewJob({"input": 3})]
    first, second, third = bulk.submit("adding", jobs)
    assert query.cancel(first).state is JobState.CANCELLED
    assert message_of(store, second).arguments() == (["adding"], {"inputs": [1, None]})
    job = query.get(second)
    assert job.submitted_at is not None
    assert job.expires_at == pytest.approx(job.submitted_at + 60)
    assert store.zscore(keys.EXPIRING, second) == job.expires_at
    assert query.get(third).expires_at is None
    assert store.zrange(keys.unfinished("adding"), 0, -1) == [second.encode(), third.encode()]


def test_a_job_of_many_that_is_given_up_keeps_its_input(store: redis.Redis) -> None:
    [job_id] = bulk.submit("adding", [NewJob({"input": [1, 2]})])
    message = store.get(keys.message(job_id))
    assert isinstance(message, bytes)
    assert dead_letters.DeadLetter(job_id, "adding", message, (), 1.0, 2.0).rows() == {"input": [1, 2]}


def test_the_limits_of_all_count_for_a_job_that_says_nothing(store: redis.Redis) -> None:
    jobs = [NewJob({"input": 1}, JobOptions(5)), NewJob({"input": 2})]
    own, all_of_them = bulk.submit("adding", jobs, limits=Limits(expires_in_s=60))
    lives = [query.get(each) for each in (own, all_of_them)]
    assert [each.expires_at - each.submitted_at for each in lives] == pytest.approx([5, 60])  # type: ignore[operator]


def test_a_queue_without_room_for_all_takes_none(store: redis.Redis) -> None:
    limits = Limits(max_queue_length=30)
    bulk.submit("adding", rows(15), limits=limits)
    stored = set(store.keys())
    with pytest.raises(QueueFull, match="15 unfinished jobs, and with 16 more"):
        bulk.submit("adding", rows(16), limits=limits)
    assert set(store.keys()) == stored
    assert len(bulk.submit("adding", rows(15), limits=limits)) == 15


def test_what_others_submit_meanwhile_stops_no_chunk_of_a_call_that_was_let_in(
    store: redis.Redis, at_record: Callable[[int, Callable[[], object]], None]
) -> None:
    at_record(12, lambda: store.zadd(keys.unfinished("adding"), {str(n): 1 for n in range(50)}))
    assert len(bulk.submit("adding", rows(25), limits=Limits(max_queue_length=40))) == 25
    assert store.llen(QUEUE) == 25


def test_a_full_queue_refuses_by_what_workers_told(store: redis.Redis) -> None:
    store.hset(keys.LIMITS, "adding", 4)
    with pytest.raises(QueueFull):
        tasks.predict.bulk("adding", range(5))
    assert len(tasks.predict.bulk("adding", range(4))) == 4


@pytest.mark.parametrize(("count", "limits"), [(31, Limits()), (8, Limits(max_queue_length=7))])
def test_more_than_there_can_ever_be_room_for_are_refused(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch, count: int, limits: Limits
) -> None:
    monkeypatch.setattr(bulk, "MAX_JOBS", 30)
    with pytest.raises(BulkTooLarge, match=f"{count} jobs are too many"):
        bulk.submit("adding", rows(count), limits=limits)
    assert store.keys() == []


@pytest.mark.parametrize(
    ("endpoint_name", "last", "options"),
    [
        ("adding", object(), {}),
        ("adding", 1, {"link": [1]}),
        ("adding", 1, {"expires": "soon"}),
        ("no endpoint", 1, {}),
    ],
)
def test_what_can_not_be_sent_is_refused_with_nothing_stored(
    store: redis.Redis, endpoint_name: str, last: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(JobArgumentsWrong):
        tasks.predict.bulk(endpoint_name, [*range(25), last], **options)
    assert store.keys() == []


def test_celery_programs_get_their_results_in_order(store: redis.Redis) -> None:
    results = tasks.predict.bulk(
        "adding", (number for number in range(12)), headers={"trace": "t"}, expires=60, priority=2
    )
    assert all(isinstance(each, AsyncResult) and each.status == records.QUEUED for each in results)
    found = queued(store)
    assert [each.headers["id"] for each in found] == [each.id for each in results]
    assert {each.headers["trace"] for each in found} == {"t"}
    assert {each.properties["priority"] for each in found} == {2}
    assert all(store.zscore(keys.EXPIRING, each.id) == query.get(each.id).expires_at for each in results)
    assert tasks.predict.bulk("adding", []) == []


def test_a_repeated_call_is_the_same_jobs(store: redis.Redis) -> None:
    first = bulk.submit("adding", rows(25), idempotency=ONCE)
    query.cancel(first[3])
    again = bulk.submit("adding", rows(25), idempotency=ONCE, limits=Limits(max_queue_length=25))
    assert again == first
    assert query.get(first[3]).state is JobState.CANCELLED
    assert store.llen(QUEUE) == 25
    assert not set(first) & set(bulk.submit("adding", rows(25), idempotency=Idempotency("other", b"request")))


def test_ids_under_a_key_are_random(store: redis.Redis) -> None:
    first = bulk.submit("adding", rows(3), idempotency=ONCE)
    store.flushall()
    assert not set(first) & set(bulk.submit("adding", rows(3), idempotency=ONCE))


def test_a_call_that_an_earlier_release_stored_keeps_its_ids(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope, request = accept.digest(b"key"), accept.digest(b"bulk\nrequest")
    said = [f"{scope} {request} {number}".encode() for number in range(3)]
    ids = [str(UUID(bytes=hashlib.sha256(each).digest()[:16], version=5)) for each in said]
    with monkeypatch.context() as earlier:
        earlier.setattr(bulk, "_ids_under", lambda *_: (request, iter(ids)))
        assert bulk.submit("adding", rows(3), idempotency=ONCE) == ids
    assert bulk.submit("adding", rows(3), idempotency=ONCE) == ids
    assert store.llen(QUEUE) == 3


def test_another_call_under_the_same_key_is_a_conflict(store: redis.Redis) -> None:
    first = bulk.submit("adding", rows(3), idempotency=ONCE)
    with pytest.raises(IdempotencyConflict, match=first[0]):
        bulk.submit("adding", rows(3), idempotency=Idempotency("key", b"another"))
    with pytest.raises(IdempotencyConflict, match=first[0]):
        submit(idempotency=ONCE)  # the same text, but one job
    assert store.llen(QUEUE) == 3


def test_normal_jobs_need_no_set_of_priorities(store: redis.Redis) -> None:
    store.set(keys.prioritized("adding"), "no sorted set")
    assert len(bulk.submit("adding", rows(3))) == 3
    with pytest.raises(QueueUnavailable):
        bulk.submit("adding", [NewJob({"input": 1}, JobOptions(priority=Priority.HIGH))])
    assert store.llen(QUEUE) == 3


@pytest.fixture
def at_record(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Do something while a call makes the record of its nth job."""

    def arrange(nth: int, what: Callable[[], object]) -> None:
        made, queued = 0, records.queued

        def recorded(*args: Any) -> bytes:
            nonlocal made
            made += 1
            if made == nth:
                what()
            return queued(*args)

        monkeypatch.setattr(records, "queued", recorded)

    return arrange


@pytest.fixture
def proxy(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What is between a call and Redis."""
    port = store.connection_pool.connection_kwargs["port"]
    with Proxy(port) as running:
        retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        client = redis.Redis(port=running.port, socket_timeout=0.2, retry=retry, protocol=2)
        monkeypatch.setattr(bulk, "records_client", lambda: client)
        monkeypatch.setattr(accept, "records_client", lambda: client)
        yield running
        running.resume()
        client.close()


def test_a_connection_that_is_lost_once_is_no_interruption(
    store: redis.Redis, proxy: Proxy, at_record: Callable[[int, Callable[[], object]], None]
) -> None:
    at_record(15, proxy.cut)
    assert len(bulk.submit("adding", rows(25))) == 25
    assert inputs(queued(store)) == list(range(25))


def test_a_chunk_whose_answer_was_lost_is_let_in_again(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = 0

    def deaf(client: redis.Redis, source: Lua) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            nonlocal answered
            answer = script(client, source)(*given)
            answered += 1
            if answered == 1:
                raise redis.TimeoutError("the answer is late")
            return answer

        return run

    monkeypatch.setattr(accept, "script", deaf)
    # All of the room there is: what the first try has stored must not count against the second one.
    job_ids = bulk.submit("adding", rows(25), limits=Limits(max_queue_length=25))
    assert [each.headers["id"] for each in queued(store)] == job_ids


def test_redis_that_is_lost_between_chunks_leaves_whole_chunks_and_says_which(
    store: redis.Redis, proxy: Proxy, at_record: Callable[[int, Callable[[], object]], None]
) -> None:
    at_record(15, proxy.stall)
    with pytest.raises(BulkInterrupted, match="10 of 25 jobs are stored") as caught:
        bulk.submit("adding", rows(25), idempotency=ONCE)
    error = caught.value
    assert (len(error.job_ids), len(error.unconfirmed_job_ids)) == (10, 10)
    assert [each.headers["id"] for each in queued(store)] == error.job_ids
    proxy.resume()
    eventually(lambda: store.llen(QUEUE) == 20, message="what was on its way has arrived, once")
    assert [each.headers["id"] for each in queued(store)] == error.job_ids + error.unconfirmed_job_ids
    job_ids = bulk.submit("adding", rows(25), idempotency=ONCE, limits=Limits(max_queue_length=25))
    assert job_ids[:20] == error.job_ids + error.unconfirmed_job_ids
    assert inputs(queued(store)) == list(range(25))


def test_redis_that_is_not_there_stores_nothing(store: redis.Redis, proxy: Proxy) -> None:
    proxy.stall()
    with pytest.raises(QueueUnavailable, match="nothing was stored") as caught:
        bulk.submit("adding", rows(25))
    assert not isinstance(caught.value, BulkInterrupted)


class Broker:
    """Takes some messages, then no more."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.room = 1_000

    def send(self, queue: str, envelope: bytes) -> None:
        assert queue == QUEUE
        if len(self.sent) >= self.room:
            raise OperationalError("the broker is away")
        self.sent.append(envelope)


@pytest.fixture
def other_broker(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """Queues are elsewhere; what would be sent there is recorded."""
    other = Broker()
    monkeypatch.setenv("QUEUECAST_BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setattr(broker_client, "send", other.send)
    forget_cached_settings()
    yield other
    monkeypatch.undo()
    forget_cached_settings()


def test_with_another_broker_messages_are_sent_in_order_once_they_are_recorded(
    store: redis.Redis, other_broker: Broker
) -> None:
    job_ids = bulk.submit("adding", rows(25), idempotency=ONCE)
    assert [envelopes.decode(each).headers["id"] for each in other_broker.sent] == job_ids
    assert not store.exists(QUEUE)
    assert bulk.submit("adding", rows(25), idempotency=ONCE) == job_ids
    assert len(other_broker.sent) == 25


def test_what_another_broker_does_not_take_is_taken_back(store: redis.Redis, other_broker: Broker) -> None:
    other_broker.room = 13
    with pytest.raises(BulkInterrupted, match="13 of 25 jobs are stored") as caught:
        bulk.submit("adding", rows(25), idempotency=ONCE)
    assert caught.value.job_ids == [envelopes.decode(each).headers["id"] for each in other_broker.sent]
    assert store.zcard(keys.unfinished("adding")) == 13
    other_broker.room = 1_000
    job_ids = bulk.submit("adding", rows(25), idempotency=ONCE)
    assert [envelopes.decode(each).headers["id"] for each in other_broker.sent] == job_ids


def test_what_another_broker_may_have_keeps_its_records(
    store: redis.Redis, other_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost_after_some(_queue: str, envelopes: list[bytes], sent: set[int]) -> None:
        other_broker.sent += envelopes
        sent.update(range(13))
        raise broker_client.SendUnconfirmed("no answer")

    monkeypatch.setattr(bulk, "CHUNK_JOBS", 25)
    monkeypatch.setattr(broker_client, "send_many", lost_after_some)
    with pytest.raises(BulkInterrupted, match="13 of 25 jobs are stored") as caught:
        bulk.submit("adding", rows(25), idempotency=ONCE)
    ids = [envelopes.decode(each).headers["id"] for each in other_broker.sent]
    assert (caught.value.job_ids, caught.value.unconfirmed_job_ids) == (ids[:13], ids[13:])
    assert bulk.submit("adding", rows(25), idempotency=ONCE) == ids
    assert len(other_broker.sent) == 25


def test_a_repeated_call_waits_while_the_first_is_being_sent(store: redis.Redis, other_broker: Broker) -> None:
    store.set(keys.sending(accept.digest(b"key")), "another call")
    bulk.submit("adding", rows(3), idempotency=ONCE)  # nobody has stored anything under this key
    store.set(keys.sending(accept.digest(b"key")), "another call")
    with pytest.raises(QueueUnavailable, match="still being stored"):
        bulk.submit("adding", rows(3), idempotency=ONCE)


@pytest.mark.parametrize("spoilt", [queue_name("adding", priority) for priority in Priority])
def test_nothing_is_stored_if_one_of_several_queues_is_of_the_wrong_type(store: redis.Redis, spoilt: str) -> None:
    store.set(spoilt, "no list")
    several = [NewJob({"input": number}, JobOptions(priority=priority)) for number, priority in enumerate(Priority)]
    with pytest.raises(QueueUnavailable, match="nothing was stored"):
        bulk.submit("adding", several)
    assert store.keys("celery-task-meta-*") == store.keys(keys.message("*")) == []
    assert [key for key in store.keys("predict.*") if key != spoilt.encode()] == []
    assert not store.exists(keys.unfinished("adding"))


def test_chunks_before_a_queue_of_the_wrong_type_are_stored_and_no_job_is_in_doubt(
    store: redis.Redis,
) -> None:
    store.set(queue_name("adding", Priority.LOW), "no list")
    low = JobOptions(priority=Priority.LOW)
    some = [NewJob({"input": number}, low if number == 15 else JobOptions()) for number in range(25)]
    with pytest.raises(BulkInterrupted, match="10 of 25 jobs are stored") as caught:
        bulk.submit("adding", some)
    assert caught.value.unconfirmed_job_ids == []
    assert len(queued(store)) == 10
