"""The sweeper: sends lost jobs again, and expires late ones."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence

import pytest
import redis
from celery import Celery
from redis.asyncio import Redis

from tests.support.scripts import Given
from tests.workers.conftest import WithRedis, submit, submit_ids
from workers import keys
from workers.engine.intake.leases import Leases
from workers.engine.supervision import cancelled
from workers.engine.upkeep import sweeper
from workers.engine.upkeep.sweeper import Sweeper
from workers.jobs import accept, bulk, query, transitions
from workers.jobs.query import JobState
from workers.jobs.transitions import Claim
from workers.measures import positions
from workers.queues.naming import queue_name
from workers.queues.priorities import Priority
from workers.settings import WorkerSettings

QUEUE = queue_name("adding")
LEASE_S = 2.0
#: Older than anything that may still be on its way.
LONG_AGO_S = 1_000.0


def settings() -> WorkerSettings:
    return WorkerSettings(lease_s=LEASE_S, sweep_interval_s=0.1)


class Clock:
    """The client's clock: time.time() plus an error (s)."""

    off_s = 0.0

    def time(self) -> float:
        return time.time() + self.off_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    for module in (accept, bulk):
        monkeypatch.setattr(module, "time", found)
    return found


def sweep(with_redis: WithRedis) -> None:
    with_redis(lambda client: Sweeper(client, Leases(client, LEASE_S), settings()).sweep())


def age(store: redis.Redis, *job_ids: str, name: str = "adding") -> None:
    """As if the jobs had been submitted long ago."""
    for job_id in job_ids:
        store.zincrby(keys.unfinished(name), -LONG_AGO_S, job_id)


def queued(store: redis.Redis, queue: str = QUEUE) -> list[bytes]:
    """The messages of a queue, the next one first."""
    return [bytes(each) for each in store.lrange(queue, 0, -1)[::-1]]  # type: ignore[arg-type, unused-ignore]


def copies(store: redis.Redis, *job_ids: str) -> list[bytes | None]:
    return [store.get(keys.message(job_id)) for job_id in job_ids]  # type: ignore[misc]


def test_lost_jobs_are_sent_again_in_a_redis_that_is_full(
    store: redis.Redis, with_redis: WithRedis, fill: Callable[[], None]
) -> None:
    ids = submit_ids(3)
    store.delete(QUEUE)
    age(store, *ids)
    fill()
    sweep(with_redis)
    assert queued(store) == copies(store, *ids)


def test_the_name_of_an_endpoint_is_forgotten_with_its_last_record(store: redis.Redis, with_redis: WithRedis) -> None:
    ended, waiting = submit("ended").job_id, submit("waiting").job_id
    query.cancel(ended)
    sweep(with_redis)
    assert store.smembers(keys.ENDPOINTS) == {b"ended", b"waiting"}
    store.delete(keys.record(ended), keys.record(waiting))  # their time was over
    sweep(with_redis)
    assert store.smembers(keys.ENDPOINTS) == {b"waiting"}
    assert not store.exists(keys.recent("ended"))


def test_jobs_of_a_queue_that_somebody_emptied_are_sent_again(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(3)
    store.delete(QUEUE)
    age(store, *ids)
    sweep(with_redis)
    assert queued(store) == copies(store, *ids)
    sweep(with_redis)
    assert len(queued(store)) == 3


def test_what_waits_in_its_queue_is_not_sent_twice(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(3)
    sweep(with_redis)
    assert queued(store) == copies(store, *ids)


def test_a_job_is_lost_that_is_older_than_everything_in_its_queue(store: redis.Redis, with_redis: WithRedis) -> None:
    lost, waiting = submit_ids(2)
    store.rpop(QUEUE)
    age(store, lost)
    sweep(with_redis)
    assert queued(store) == copies(store, waiting, lost)


@pytest.mark.parametrize("off_s", [-2 * LONG_AGO_S, 2 * LONG_AGO_S])
@pytest.mark.parametrize("first_is_off", [True, False])
@pytest.mark.parametrize("many", [True, False])
def test_a_submitter_whose_clock_is_off_makes_no_duplicates(
    store: redis.Redis, with_redis: WithRedis, clock: Clock, off_s: float, first_is_off: bool, many: bool
) -> None:
    ids: list[str] = []
    for is_off in (first_is_off, not first_is_off):
        clock.off_s = off_s if is_off else 0.0
        if many:
            ids += bulk.submit("adding", [bulk.NewJob({"input": 1})], priority="low")
        else:
            ids.append(submit(priority="low").job_id)
    clock.off_s = 0.0
    queue = queue_name("adding", Priority.LOW)
    age(store, *ids)
    sweep(with_redis)
    assert queued(store, queue) == copies(store, *ids), "each once, in the order in which they came"
    lines = positions.read("adding", ids)
    assert [lines[job_id].before for job_id in ids] == [0, 1]


def test_a_submitter_that_may_not_ask_for_the_time_says_its_own(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = accept.ACCEPT.text.replace("pcall('TIME')", "pcall('NO-SUCH-COMMAND')")
    monkeypatch.setattr(accept, "ACCEPT", Given("", text))
    accepted = submit(priority="high")
    assert store.zscore(keys.unfinished("adding"), accepted.job_id) == pytest.approx(accepted.submitted_at)


def test_a_job_is_given_time_to_get_into_its_queue(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    store.delete(QUEUE)
    store.zincrby(keys.unfinished("adding"), -(2 * LEASE_S + 5), job_id)
    sweep(with_redis)
    assert queued(store) == []
    store.zincrby(keys.unfinished("adding"), -10, job_id)
    sweep(with_redis)
    assert queued(store) == copies(store, job_id)


def test_what_a_worker_holds_is_left_to_it(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(3)
    with_redis(lambda client: Leases(client, 60).fetch({"adding": 2}))
    store.delete(QUEUE)
    age(store, *ids)
    sweep(with_redis)
    assert queued(store) == copies(store, ids[2])


def test_what_has_ended_or_has_no_record_is_forgotten(store: redis.Redis, with_redis: WithRedis) -> None:
    cancelled, gone = submit_ids(2)
    query.cancel(cancelled)
    store.zadd(keys.unfinished("adding"), {cancelled: 1.0})
    store.delete(keys.record(gone), QUEUE)
    age(store, gone)
    sweep(with_redis)
    assert queued(store) == []
    assert store.zcard(keys.unfinished("adding")) == 0


def test_the_callback_of_a_forgotten_job_stays_if_there_is_an_end_to_tell(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    ended, gone = (submit(callback_url="https://hooks.example.com/").job_id for _ in range(2))
    store.delete(QUEUE, keys.record(gone))
    store.set(keys.record(ended), b'{"status": "SUCCESS"}')
    age(store, ended, gone)
    sweep(with_redis)
    assert not store.exists(keys.unfinished("adding"))
    assert store.hkeys(keys.CALLBACKS) == [ended.encode()]


def test_a_running_job_that_was_lost_with_its_lease_is_sent_again(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    record = b'{"status": "STARTED"}'
    with_redis(lambda client: transitions.claim(client, "adding", [Claim(job_id, record, 1.0)]))
    store.delete(QUEUE)
    age(store, job_id)
    sweep(with_redis)
    assert queued(store) == copies(store, job_id)


def test_each_endpoint_is_looked_through_however_many_jobs_it_has(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "_READ_AT_ONCE", 3)
    ids = {name: submit_ids(11, name) for name in ("one", "two")}
    for name, of_endpoint in ids.items():
        age(store, *of_endpoint, name=name)
    with_redis(lambda client: Leases(client, 60).fetch({"one": 5}))
    store.delete(queue_name("one"), queue_name("two"))
    sweep(with_redis)
    assert sorted(queued(store, queue_name("one"))) == sorted(copies(store, *ids["one"][5:]))  # type: ignore[type-var]
    assert sorted(queued(store, queue_name("two"))) == sorted(copies(store, *ids["two"]))  # type: ignore[type-var]


def test_jobs_without_a_copy_of_their_message_are_looked_at_once(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They came straight from a Celery program and run; their leases have tags of their own.
    monkeypatch.setattr(sweeper, "_READ_AT_ONCE", 3)
    claims = [Claim(f"theirs-{number}", b'{"status": "STARTED"}', 1.0) for number in range(7)]
    with_redis(lambda client: transitions.claim(client, "adding", claims))

    async def bounded(client: Redis) -> None:
        async with asyncio.timeout(10):
            await Sweeper(client, Leases(client, LEASE_S), settings()).sweep()

    with_redis(bounded)
    assert queued(store) == []
    assert store.zcard(keys.unfinished("adding")) == 7


def test_a_malformed_message_in_one_queue_is_no_matter_to_the_others(store: redis.Redis, with_redis: WithRedis) -> None:
    submit("one")
    [lost] = submit_ids(1, "two")
    store.rpush(queue_name("one"), f'"{keys.SUBMITTED_AT_HEADER}": 1.2.3')
    store.delete(queue_name("two"))
    age(store, lost, name="two")
    sweep(with_redis)
    assert queued(store, queue_name("two")) == copies(store, lost)


def test_a_late_job_expires_and_a_running_one_does_not(store: redis.Redis, with_redis: WithRedis) -> None:
    late, running, waiting = (submit(expires=60).job_id for _ in range(3))
    with_redis(lambda client: transitions.claim(client, "adding", [Claim(running, b'{"status": "STARTED"}', 1.0)]))
    store.zadd(keys.EXPIRING, {late: 1.0, running: 1.0})
    sweep(with_redis)
    assert query.get(late).state is JobState.EXPIRED
    assert query.get(running).state is JobState.RUNNING
    assert query.get(waiting).state is JobState.QUEUED
    assert store.zrange(keys.EXPIRING, 0, -1) == [waiting.encode()]
    assert store.hget(keys.counts("adding"), "withdrawn") == b"1"
    assert not store.exists(keys.message(late))


def test_a_record_that_can_not_be_read_keeps_no_other_job_from_its_end(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    spoilt, late, lost = submit_ids(3)
    store.set(keys.record(spoilt), b"[1, 2")
    store.zadd(keys.EXPIRING, {spoilt: time.time() - 2, late: time.time() - 1})
    age(store, lost)
    store.delete(QUEUE)
    sweep(with_redis)
    assert query.get(late).state is JobState.EXPIRED
    assert len(queued(store)) == 1
    assert store.zcard(keys.EXPIRING) == 0


def test_a_round_that_another_worker_has_made_is_skipped(store: redis.Redis, with_redis: WithRedis) -> None:
    swept: list[bool] = []

    class Counted(Sweeper):
        async def sweep(self) -> None:
            swept.append(True)

    async def run(client: Redis) -> None:
        store.set(keys.SWEPT, "by another")
        before = tried(store)
        task = asyncio.create_task(Counted(client, Leases(client, LEASE_S), settings()).run())
        async with asyncio.timeout(20):
            while tried(store) < before + 3:
                await asyncio.sleep(0.01)
            assert swept == []
            store.delete(keys.SWEPT)
            while not swept:
                await asyncio.sleep(0.01)
        await cancelled([task])

    with_redis(run)
    assert store.pttl(keys.SWEPT) <= 90


def tried(store: redis.Redis) -> int:
    """The number of attempts to begin a round."""
    calls: int = store.info("commandstats").get("cmdstat_set", {}).get("calls", 0)
    return calls


class Failing(Leases):
    """A source that fails with another error each time."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client, LEASE_S)
        self.asked: list[str] = []

    async def oldest_at(self, endpoint_name: str) -> float | None:
        self.asked.append(endpoint_name)
        raise [OSError("away"), ValueError("odd")][len(self.asked) % 2]

    async def without_lease(self, job_ids: Sequence[str]) -> list[str]:
        raise NotImplementedError


def test_a_round_that_fails_is_followed_by_another(
    store: redis.Redis, with_redis: WithRedis, caplog: pytest.LogCaptureFixture
) -> None:
    submit()

    async def run(client: Redis) -> None:
        source = Failing(client)
        task = asyncio.create_task(Sweeper(client, source, settings()).run())
        async with asyncio.timeout(20):
            while len(source.asked) < 3:
                await asyncio.sleep(0.01)
        assert not task.done()
        await cancelled([task])

    with caplog.at_level(logging.WARNING, "workers.engine.upkeep.sweeper"):
        with_redis(run)
    assert "the search for lost jobs failed" in caplog.text
    assert "unexpected error" in caplog.text


def test_a_lost_job_goes_back_to_the_queue_of_its_priority(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = {priority: submit(priority=priority).job_id for priority in Priority}
    store.delete(*(queue_name("adding", priority) for priority in Priority))
    age(store, *ids.values())
    sweep(with_redis)
    for priority, job_id in ids.items():
        assert queued(store, queue_name("adding", priority)) == copies(store, job_id)


def test_what_waits_behind_more_urgent_jobs_is_not_lost(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with monkeypatch.context() as long_ago:
        long_ago.setattr(time, "time", lambda: now - LONG_AGO_S)
        low = submit(priority="low").job_id
    submit()
    sweep(with_redis)
    assert queued(store, queue_name("adding", Priority.LOW)) == copies(store, low)


@pytest.mark.long
def test_all_late_jobs_of_an_endpoint_without_a_worker_expire_in_one_round(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    ids = submit_ids(2 * sweeper._READ_AT_ONCE + 1)
    store.zadd(keys.EXPIRING, dict.fromkeys(ids, 1.0))
    sweep(with_redis)
    assert {query.get(job_id).state for job_id in ids} == {JobState.EXPIRED}
    assert not store.exists(keys.EXPIRING)


def test_a_message_of_a_bare_program_at_the_head_hides_no_lost_job(
    store: redis.Redis, with_redis: WithRedis, bare_app: Celery
) -> None:
    lost = submit_ids(3)
    store.delete(QUEUE)
    bare_app.send_task("predict", ["adding", 1], queue=QUEUE)
    waiting = submit_ids(2)
    age(store, *lost, *waiting)
    sweep(with_redis)
    assert queued(store)[1:] == copies(store, *waiting, *lost)
    age(store, *waiting, *lost)
    sweep(with_redis)
    assert len(queued(store)) == 6, "what is in its queue is not sent twice"


def test_behind_a_message_of_a_bare_program_lost_jobs_of_each_priority_are_found(
    store: redis.Redis, with_redis: WithRedis, bare_app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "_READ_AT_ONCE", 3)
    bare_app.send_task("predict", ["adding", 1], queue=QUEUE)
    waiting = {priority: [submit(priority=priority).job_id for _ in range(4)] for priority in Priority}
    lost = {priority: submit(priority=priority).job_id for priority in Priority}
    for priority in Priority:
        store.lpop(queue_name("adding", priority))
        age(store, lost[priority])
        age(store, lost[priority])
        age(store, *waiting[priority])
    sweep(with_redis)
    for priority in Priority:
        assert queued(store, queue_name("adding", priority))[-5:] == copies(store, *waiting[priority], lost[priority])


def test_a_job_that_waits_for_its_time_is_not_lost(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = submit(countdown=600).job_id
    sweep(with_redis)
    age(store, job_id)
    sweep(with_redis)
    assert queued(store) == []
    assert store.zcard(keys.delayed("adding")) == 1


def test_what_is_due_is_released_also_of_an_endpoint_without_a_worker(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    job_id = submit(countdown=600).job_id
    store.zadd(keys.delayed("adding"), {job_id: time.time() - 1})
    sweep(with_redis)
    assert queued(store) == copies(store, job_id)
    assert not store.exists(keys.delayed("adding"))


def test_a_released_job_at_the_head_hides_no_lost_job(store: redis.Redis, with_redis: WithRedis) -> None:
    delayed, lost = submit(countdown=600).job_id, submit().job_id
    store.delete(QUEUE)
    store.zadd(keys.delayed("adding"), {delayed: time.time() - 1})
    age(store, lost)
    sweep(with_redis)
    assert queued(store) == copies(store, delayed, lost)


def test_a_delayed_job_expires_before_its_time(store: redis.Redis, with_redis: WithRedis) -> None:
    late = submit(countdown=600, expires=60).job_id
    store.zadd(keys.EXPIRING, {late: 1.0})
    sweep(with_redis)
    assert query.get(late).state is JobState.EXPIRED
    assert not store.exists(keys.delayed("adding"), keys.unfinished("adding"), keys.message(late))


@pytest.mark.parametrize("owner", [["x"], {"a": 1}, True, 5])
def test_an_owner_that_is_no_text_keeps_no_job_from_its_end(
    store: redis.Redis, with_redis: WithRedis, owner: object
) -> None:
    odd, late = submit(expires=60).job_id, submit(expires=60).job_id
    record = store.get(keys.record(odd))
    assert isinstance(record, bytes)
    store.set(keys.record(odd), json.dumps({**json.loads(record), "owner": owner}))
    store.zadd(keys.EXPIRING, {odd: 1.0, late: 2.0})
    sweep(with_redis)
    assert [query.get(each).state for each in (odd, late)] == [JobState.EXPIRED] * 2


def test_what_a_wrong_key_keeps_from_being_noted_of_an_expired_job_is_logged(
    store: redis.Redis, with_redis: WithRedis, caplog: pytest.LogCaptureFixture
) -> None:
    late = submit(countdown=600, expires=60).job_id
    store.zadd(keys.EXPIRING, {late: 1.0})
    store.set(keys.counts("adding"), "no hash")
    sweep(with_redis)
    assert query.get(late).state is JobState.EXPIRED
    assert f"job {late} has expired, but its bookkeeping failed: WRONGTYPE" in caplog.text


def test_workers_of_an_earlier_release_alone_send_delayed_jobs_when_they_seem_lost(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    job_id = submit(countdown=600).job_id
    copy = copies(store, job_id)
    age(store, job_id)  # its time came long ago
    store.delete(keys.delayed("adding"))  # which they don't know
    sweep(with_redis)
    assert queued(store) == copy
