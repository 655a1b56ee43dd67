"""The Redis intake: fetches jobs by each endpoint's credit, under leases, from real queues."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from tests.support.service.environment import forget_cached_settings
from tests.support.waiting import until
from tests.workers.conftest import WithRedis, submit, submit_ids
from workers import keys
from workers.embedded_redis.server import EmbeddedRedis
from workers.engine.intake import leases as leases_module
from workers.engine.intake import redis as intake_module
from workers.engine.intake.leases import Leased, Leases
from workers.engine.intake.messages import QueuedJob
from workers.engine.intake.redis import RedisIntake
from workers.engine.supervision import cancelled
from workers.jobs import query
from workers.jobs.query import JobState
from workers.queues.naming import queue_name

QUEUE = queue_name("adding")
LEASE_S = 20.0


class RecordingTaker:
    """Accepts jobs up to a given credit."""

    def __init__(self, capacity: int = 100) -> None:
        self.capacity = capacity
        self.takes_early = False
        #: Whether a host waits for a job.
        self.idle = False
        self.undelayed: str | None = None
        self.more_if_high = 0
        self.refused: str | None = None
        self.jobs: list[QueuedJob] = []

    @property
    def credit(self) -> int:
        return self.capacity - len(self.jobs)

    @property
    def serves_at_once(self) -> bool:
        return self.idle

    @property
    def credit_if_high(self) -> int:
        return self.credit + self.more_if_high

    @property
    def ids(self) -> list[str]:
        return [job.job_id for job in self.jobs]

    def receive(self, jobs: list[QueuedJob]) -> None:
        self.jobs += jobs

    def not_fetched(self, why: str | None) -> None:
        self.refused = why

    def not_delayed(self, why: str | None) -> None:
        self.undelayed = why


class Running:
    """A running intake and what it has on its loop."""

    def __init__(self, intake: RedisIntake, sinks: dict[str, RecordingTaker]) -> None:
        self.intake = intake
        self.sinks = sinks


@asynccontextmanager
async def running(
    client: Redis, lease_s: float = LEASE_S, listen: bool = False, **capacities: int
) -> AsyncIterator[Running]:
    sinks = {name: RecordingTaker(capacity) for name, capacity in capacities.items()}
    intake = RedisIntake(client, sinks, lease_s)
    tasks = [
        asyncio.create_task(work) for work in (intake.run(), intake.renew(), *([intake.listen()] if listen else []))
    ]
    for name in sinks:
        intake.ring(name)
    try:
        yield Running(intake, sinks)
    finally:
        await intake.close()
        await cancelled(tasks[1:])
        await tasks[0]


def test_an_endpoint_gets_its_jobs_oldest_first_and_no_more_than_it_can_use(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    ids = submit_ids(5)

    async def take(client: Redis) -> None:
        async with running(client, adding=3) as now:
            adding = now.sinks["adding"]
            await until(lambda: len(adding.jobs) == 3)
            assert adding.ids == now.intake.held == ids[:3]
            assert store.llen(QUEUE) == 2
            done = adding.jobs[:2]
            del adding.jobs[:2]
            await now.intake.ack(done)
            now.intake.made_room("adding")
            await until(lambda: adding.ids == ids[2:])
            assert now.intake.held == ids[2:]

    with_redis(take)
    assert store.zcard(keys.LEASES) == 3


def test_a_slow_endpoint_with_a_backlog_keeps_nobody_waiting(store: redis.Redis, with_redis: WithRedis) -> None:
    submit_ids(200, "slow")
    ids = submit_ids(20, "fast")

    async def take(client: Redis) -> None:
        async with running(client, slow=1, fast=50) as now:
            await until(lambda: now.sinks["fast"].ids == ids)
            assert len(now.sinks["slow"].jobs) == 1

    with_redis(take)
    assert store.llen(queue_name("slow")) == 199


def test_a_job_that_is_queued_later_is_heard_of(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "_CHECK_S", 1_000.0)

    async def take(client: Redis) -> None:
        async with running(client, listen=True, adding=10, other=10) as now:
            await until(store.pubsub_numpat)
            for expected in (1, 2):
                await asyncio.to_thread(submit)
                await until(lambda expected=expected: len(now.sinks["adding"].jobs) == expected)  # type: ignore[misc]
            assert now.sinks["other"].jobs == []

    with_redis(take)


def test_what_is_heard_of_a_queue_concerns_its_endpoint_alone(with_redis: WithRedis) -> None:
    def told(queue: str, event: str) -> bytes:
        channel = f"__keyspace@0__:{queue}"
        parts = ["pmessage", "__keyspace@0__:predict.*", channel, event]
        return "".join(["*4\r\n", *(f"${len(part)}\r\n{part}\r\n" for part in parts)]).encode()

    async def hear(client: Redis) -> None:
        names = ["a", "ab", "b", "c", "d"]
        intake = RedisIntake(client, {name: RecordingTaker(10) for name in names}, LEASE_S)
        rung: list[str] = []
        intake.ring = rung.append  # type: ignore[method-assign, assignment]
        intake._on_notifications(
            told("predict.ab", "lpush") + told("predict.b", "rpop") + told("predict.c:high", "rpush")
            + told("predict.d\x06\x166", "lpush") + told("predict.elsewhere", "lpush")
        )  # fmt: skip
        assert sorted(rung) == ["ab", "c", "d"]
        assert intake._urgent == {"c"}

    with_redis(hear)


def test_a_queued_job_has_its_own_endpoint_looked_at_and_no_other(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "_CHECK_S", 1_000.0)
    rung: list[str] = []
    ring = RedisIntake.ring

    def noted(intake: RedisIntake, endpoint_name: str) -> None:
        rung.append(endpoint_name)
        ring(intake, endpoint_name)

    async def take(client: Redis) -> None:
        async with running(client, listen=True, adding=10, other=10) as now:
            await until(store.pubsub_numpat)
            await until(lambda: {"adding", "other"} <= set(rung))  # what came before the subscription
            rung.clear()
            for _ in range(4):
                await asyncio.to_thread(submit)
            await until(lambda: len(now.sinks["adding"].jobs) == 4)
            assert rung.count("adding") >= 1
            # On a busy machine one may come late of those before the subscription.
            assert rung.count("other") <= 1

    monkeypatch.setattr(RedisIntake, "ring", noted)
    with_redis(take)


def test_redis_is_told_to_tell_of_queued_jobs_beside_what_it_tells_already(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    before = told(store)
    store.config_set("notify-keyspace-events", "Ex")

    async def listen(client: Redis) -> None:
        async with running(client, listen=True, adding=10):
            await until(store.pubsub_numpat)

    try:
        with_redis(listen)
        assert set(told(store)) == set("ElxK")
    finally:
        store.config_set("notify-keyspace-events", before)


def told(store: redis.Redis) -> str:
    return store.config_get("notify-keyspace-events")["notify-keyspace-events"] or ""


def test_where_redis_may_not_be_told_the_queues_are_looked_at_often(
    store: redis.Redis, redis_server: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    store.acl_setuser("worker", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", "-config"])

    async def take() -> None:
        async with (
            Redis.from_url(redis_server.url, username="worker", password="any", protocol=2) as client,
            running(client, listen=True, adding=10) as now,
        ):
            await until(lambda: "sends no notifications of queued jobs" in caplog.text)
            await asyncio.to_thread(submit)
            await until(lambda: len(now.sinks["adding"].jobs) == 1)
            # It does tell, and only doesn't let this user ask: the first that is heard ends the frequent looks.
            await until(store.pubsub_numpat)
            await asyncio.to_thread(submit)
            await until(lambda: now.intake._check_s >= 1)

    try:
        with caplog.at_level(logging.WARNING):
            asyncio.run(take())
    finally:
        store.acl_deluser("worker")


def test_a_message_that_is_sent_again_while_it_is_held_is_one_job(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    message = store.get(keys.message(job_id)) or b""

    async def take(client: Redis) -> None:
        async with running(client, adding=10) as now:
            adding = now.sinks["adding"]
            await until(lambda: adding.jobs)
            store.lpush(QUEUE, message, message)
            now.intake.ring("adding")
            await until(lambda: not store.llen(QUEUE))
            [after] = await asyncio.to_thread(submit_ids, 1)
            now.intake.ring("adding")
            await until(lambda: adding.ids == [job_id, after])
            await now.intake.ack(adding.jobs)

    with_redis(take)
    assert not store.exists(QUEUE, keys.LEASES, keys.LEASED)


def test_two_copies_that_are_fetched_at_once_are_one_job(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    store.lpush(QUEUE, store.get(keys.message(job_id)) or b"")

    async def take(client: Redis) -> None:
        async with running(client, adding=10) as now:
            await until(lambda: now.sinks["adding"].jobs)
            assert now.sinks["adding"].ids == now.intake.held == [job_id]

    with_redis(take)


def test_what_is_no_message_is_put_aside_and_the_jobs_around_it_are_taken(
    store: redis.Redis, with_redis: WithRedis, caplog: pytest.LogCaptureFixture
) -> None:
    [before] = submit_ids(1)
    store.lpush(QUEUE, "no message")
    [after] = submit_ids(1)

    async def take(client: Redis) -> None:
        async with running(client, adding=10) as now:
            await until(lambda: store.llen(keys.MALFORMED))
            assert now.sinks["adding"].ids == now.intake.held == [before, after]

    with_redis(take)
    assert store.lrange(keys.MALFORMED, 0, -1) == [b"no message"]
    assert store.zcard(keys.LEASES) == 2
    assert "put aside a message of queue predict.adding" in caplog.text


@pytest.mark.slow
def test_a_malformed_message_that_can_not_be_put_aside_keeps_no_job_from_its_taker(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.lpush(QUEUE, "no message")
    [job_id] = submit_ids(1)
    failed: list[object] = []

    async def take(client: Redis) -> None:
        async with running(client, lease_s=0.2, adding=10) as now:
            put_aside = now.intake.leases.put_aside

            async def away(leased: object) -> None:
                failed.append(leased)
                raise redis.ConnectionError("away")

            monkeypatch.setattr(now.intake.leases, "put_aside", away)
            await until(lambda: failed)
            await until(lambda: now.sinks["adding"].ids == [job_id])
            assert now.intake.held == [job_id]
            monkeypatch.setattr(now.intake.leases, "put_aside", put_aside)
            # Its lease has run out by then, so that it comes again.
            await until(lambda: store.llen(keys.MALFORMED) == 1)

    with_redis(take)


def test_jobs_for_an_endpoint_that_is_gone_by_now_go_back(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(3)

    async def take(client: Redis) -> None:
        async with running(client, adding=10) as now:
            fetch = now.intake.leases.fetch
            gone = now.sinks.pop("adding")

            async def fetch_slowly(*wanted: Mapping[str, int]) -> object:
                fetched = await fetch(*wanted)
                now.sinks.clear()
                return fetched

            now.intake.leases.fetch = fetch_slowly  # type: ignore[method-assign, assignment]
            now.sinks["adding"] = gone
            now.intake.ring("adding")
            await until(lambda: not now.sinks)
            await until(lambda: store.llen(QUEUE) == 3)
            assert (gone.jobs, now.intake.held) == ([], [])

    with_redis(take)
    assert store.lindex(QUEUE, -1) == store.get(keys.message(ids[0]))


def test_given_back_jobs_are_the_next_ones(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(4)

    async def take(client: Redis) -> None:
        async with running(client, adding=2) as now:
            await until(lambda: len(now.sinks["adding"].jobs) == 2)
            now.sinks["adding"].capacity = 0
            await now.intake.give_back(now.intake.held)
            assert now.intake.held == []

    with_redis(take)
    assert store.llen(QUEUE) == 4
    assert store.lindex(QUEUE, -1) == store.get(keys.message(ids[0]))


@pytest.mark.slow
def test_leases_are_renewed_while_the_worker_lives_and_run_out_when_it_does_not(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    [job_id] = submit_ids(1)

    async def hold(client: Redis) -> None:
        async with running(client, lease_s=0.4, adding=1) as now:
            await until(lambda: now.sinks["adding"].jobs)
            first = store.zscore(keys.LEASES, job_id)
            assert first is not None
            # Twice as long as the lease.
            await until(lambda: (store.zscore(keys.LEASES, job_id) or 0) > first + 0.8)
            assert store.llen(QUEUE) == 0

    async def another(client: Redis) -> None:
        async with running(client, lease_s=0.4, adding=1) as now:
            now.intake.ring("adding")
            await until(lambda: store.zcard(keys.LEASES) == 0 or now.sinks["adding"].ids == [job_id])

    with_redis(hold)
    with_redis(another)


def test_a_closed_intake_fetches_nothing_and_what_it_was_fetching_has_arrived(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    submit_ids(5)

    async def close(client: Redis) -> None:
        sinks = {"adding": RecordingTaker(2)}
        intake = RedisIntake(client, sinks, LEASE_S)
        intake.ring("adding")
        fetching = asyncio.create_task(intake.run())
        await asyncio.sleep(0)
        await intake.close()
        await fetching
        assert len(sinks["adding"].jobs) == store.zcard(keys.LEASES)
        sinks["adding"].capacity = 10
        intake.ring("adding")
        await intake.run()
        assert len(sinks["adding"].jobs) <= 2

    with_redis(close)


def test_a_restart_of_redis_is_got_over(
    store: redis.Redis, redis_server: EmbeddedRedis, with_redis: WithRedis, caplog: pytest.LogCaptureFixture
) -> None:
    async def survive(client: Redis) -> None:
        async with running(client, listen=True, adding=10) as now:
            await until(store.pubsub_numpat)
            redis_server.stop()
            now.intake.ring("adding")
            await until(lambda: "fetching jobs failed" in caplog.text)
            redis_server.start()
            job_id = (await asyncio.to_thread(submit)).job_id
            await until(lambda: now.sinks["adding"].ids == [job_id])

    with caplog.at_level(logging.WARNING):
        with_redis(survive)
    assert store.ping()


def test_depths_are_what_nobody_has_fetched(store: redis.Redis, with_redis: WithRedis) -> None:
    submit_ids(3)

    async def depths(client: Redis) -> dict[str, int]:
        intake = RedisIntake(client, {}, LEASE_S)
        await intake.leases.fetch({"adding": 1})
        return await intake.depths(["adding", "other"])

    assert with_redis(depths) == {"adding": 2, "other": 0}


def test_a_job_of_high_priority_is_fetched_where_no_others_are(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(5)

    async def take(client: Redis) -> None:
        async with running(client, listen=True, adding=2) as now:
            adding = now.sinks["adding"]
            adding.more_if_high = 1
            await until(store.pubsub_numpat)
            await until(lambda: adding.ids == ids[:2])
            first, second = [await asyncio.to_thread(lambda: submit(priority="high").job_id) for _ in range(2)]
            await until(lambda: adding.ids == [*ids[:2], first])
            # The second one has to wait, but not behind what waited longer.
            del adding.jobs[:2]
            now.intake.made_room("adding")
            await until(lambda: adding.ids[:2] == [first, second])

    with_redis(take)


def test_a_fetch_that_failed_is_repeated_without_waiting_for_the_next_look(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "_CHECK_S", 1_000.0)
    monkeypatch.setattr(intake_module, "_PAUSE_S", 0.001)
    ids = submit_ids(2)
    fetch, failures = Leases.fetch, [redis.ConnectionError("away"), TimeoutError("slow")]

    async def fetched(leases: Leases, *wanted: Mapping[str, int]) -> object:
        if failures:
            raise failures.pop()
        return await fetch(leases, *wanted)

    monkeypatch.setattr(Leases, "fetch", fetched)

    async def take(client: Redis) -> None:
        async with running(client, adding=10) as now:
            await until(lambda: now.sinks["adding"].ids == ids)

    with_redis(take)


def test_the_rest_of_a_long_queue_follows_as_soon_as_there_is_room(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "_CHECK_S", 1_000.0)
    ids = submit_ids(5)

    async def take(client: Redis) -> None:
        async with running(client, adding=2) as now:
            adding = now.sinks["adding"]
            taken: list[str] = []
            while len(taken) < 5:
                await until(lambda: adding.jobs)
                taken += adding.ids
                adding.jobs.clear()
                now.intake.made_room("adding")
            assert taken == ids

    with_redis(take)


def test_the_rest_of_a_queue_of_large_jobs_follows_by_itself(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "_CHECK_S", 1_000.0)
    monkeypatch.setattr(intake_module, "FETCHED_AT_ONCE_BYTES", 1)
    monkeypatch.setattr(leases_module, "FETCHED_AT_ONCE_BYTES", 1)
    ids = submit_ids(3)

    async def take(client: Redis) -> None:
        async with running(client, adding=10) as now:
            await until(lambda: now.sinks["adding"].ids == ids)

    with_redis(take)


def test_what_is_being_fetched_when_it_is_closed_is_delivered_before_that_ends(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job_id] = submit_ids(1)
    fetch, begun, may_go_on = Leases.fetch, asyncio.Event(), asyncio.Event()

    async def fetched(leases: Leases, *wanted: Mapping[str, int]) -> object:
        answer = await fetch(leases, *wanted)
        begun.set()
        await may_go_on.wait()
        return answer

    monkeypatch.setattr(Leases, "fetch", fetched)

    async def close(client: Redis) -> None:
        sinks = {"adding": RecordingTaker()}
        intake = RedisIntake(client, sinks, LEASE_S)
        intake.ring("adding")
        fetching = asyncio.create_task(intake.run())
        await begun.wait()
        closing = asyncio.create_task(intake.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        may_go_on.set()
        await closing
        assert sinks["adding"].ids == intake.held == [job_id]
        await fetching

    with_redis(close)


@asynccontextmanager
async def claiming(client: Redis, *, idle: bool) -> AsyncIterator[Running]:
    """An intake that may claim what it fetches."""
    sinks = {"adding": RecordingTaker()}
    sinks["adding"].idle = idle
    intake = RedisIntake(client, sinks, LEASE_S, worker_name="w@1")
    task = asyncio.create_task(intake.run())
    intake.ring("adding")
    try:
        yield Running(intake, sinks)
    finally:
        await intake.close()
        await task


@pytest.mark.parametrize("idle", [True, False])
def test_a_job_is_claimed_when_it_is_fetched_if_a_host_waits(
    store: redis.Redis, with_redis: WithRedis, idle: bool
) -> None:
    [job_id] = submit_ids(1)

    async def take(client: Redis) -> None:
        async with claiming(client, idle=idle) as now:
            await until(lambda: now.sinks["adding"].jobs)
            [job] = now.sinks["adding"].jobs
            assert (job.claimed_at is not None) is idle
            assert query.get(job_id).state is (JobState.RUNNING if idle else JobState.QUEUED)

    with_redis(take)


def test_where_messages_are_signed_a_job_is_read_before_it_is_claimed(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUECAST_MESSAGE_KEY", "k" * 32)
    forget_cached_settings()
    [job_id] = submit_ids(1)

    async def take(client: Redis) -> None:
        async with claiming(client, idle=True) as now:
            await until(lambda: now.sinks["adding"].jobs)
            assert now.sinks["adding"].jobs[0].claimed_at is None
            assert query.get(job_id).state is JobState.QUEUED

    with_redis(take)
    monkeypatch.undo()
    forget_cached_settings()


def test_a_claimed_job_of_an_endpoint_that_is_gone_is_queued_again(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job_id] = submit_ids(1)

    async def take(client: Redis) -> None:
        async with claiming(client, idle=True) as now:
            fetch = now.intake.leases.fetch

            async def gone(*arguments: Any) -> list[Leased]:
                leased = await fetch(*arguments)
                assert [each.claimed_at is not None for each in leased] == [True]
                now.sinks.clear()
                return leased

            monkeypatch.setattr(now.intake.leases, "fetch", gone)
            await until(lambda: store.llen(QUEUE) and not now.sinks)
            assert query.get(job_id).state is JobState.QUEUED
            assert now.intake.held == []

    with_redis(take)


def test_a_claimed_message_that_can_not_be_read_is_put_aside_and_its_record_is_queued_again(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    [job_id] = submit_ids(1)
    before: Any = store.get(keys.record(job_id))
    message: Any = store.lindex(QUEUE, 0)
    store.lset(QUEUE, 0, message.replace(b'"task": "predict"', b'"task": "another"'))

    async def take(client: Redis) -> None:
        async with claiming(client, idle=True) as now:
            await until(lambda: store.llen(keys.MALFORMED))
            assert now.intake.held == []

    with_redis(take)
    assert query.get(job_id).state is JobState.QUEUED
    assert store.get(keys.record(job_id)) == before.replace(b', "expires_at": null', b"")
    assert store.ttl(keys.record(job_id)) > 0
