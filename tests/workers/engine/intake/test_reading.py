"""Careful reading: a message that crashes worker after worker is given up; ordinary ones need no extra steps."""

from __future__ import annotations

import asyncio
import json
import threading
import zlib
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from tests.support.scripts import Given
from tests.support.waiting import until
from tests.workers.conftest import WithRedis, message_of, submit
from tests.workers.engine.intake.test_redis import QUEUE, running
from tests.workers.queues.test_unpacking import message
from workers import keys
from workers.engine.intake import reading
from workers.engine.intake.messages import MessageUnreadable, QueuedJob, parse
from workers.engine.intake.reading import MOST_LOST, READERS_OF, read_at_once, read_with_care
from workers.queues import arguments
from workers.queues.lease_holder import LEASE_HOLDER

PACKED = message(zlib.compress(b'[["adding", 1], {}, {}]'), "gzip")


FIELD = f"{READERS_OF}tag"
LOST = " ".join(f"lost-{number}" for number in range(MOST_LOST))


def carefully(client: Redis, content: bytes = PACKED) -> Any:
    return read_with_care(client, "tag", "adding", content)


@pytest.mark.parametrize("content", [PACKED, b'{"body": "%b"}' % (b"x" * 2_000_000)], ids=["compressed", "large"])
def test_what_could_end_a_worker_is_not_read_at_once(content: bytes) -> None:
    assert read_at_once("tag", "adding", content) is None


def test_a_long_canvas_is_not_read_at_once_and_a_long_input_is() -> None:
    chain = [{"task": "predict", "args": ["x" * 1_000], "kwargs": {}, "options": {}}] * 100
    for follows, is_careful in (({"chain": chain}, True), ({}, False)):
        embedded = dict.fromkeys(("callbacks", "errbacks", "chain", "chord")) | follows
        body = json.dumps([["adding", "x" * 100_000], {}, embedded]).encode()
        plain = {"headers": {"task": "predict", "id": "job"}}
        content = json.dumps({**json.loads(message(body, "gzip")), **plain}).encode()
        assert (read_at_once("tag", "adding", content) is None) is is_careful


def test_the_event_loop_goes_on_while_a_message_is_read(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(client: Redis) -> QueuedJob:
        loop, goes_on = asyncio.get_running_loop(), threading.Event()

        def parsed(*about: Any) -> QueuedJob:
            loop.call_soon_threadsafe(goes_on.set)
            assert goes_on.wait(5), "the event loop is held up"
            return parse(*about)

        monkeypatch.setattr(reading, "parse", parsed)
        job: QueuedJob = await carefully(client)
        return job

    assert arguments.values(with_redis(read).rows) == [1]


def test_a_message_counts_only_while_it_is_read(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[Any] = []

    def parsed(*about: Any) -> QueuedJob:
        counted.append(store.hget(keys.READING, FIELD))
        return parse(*about)

    monkeypatch.setattr(reading, "parse", parsed)
    assert arguments.values(with_redis(carefully).rows) == [1]
    assert counted == [LEASE_HOLDER.encode()]
    assert store.exists(keys.READING) == 0


def test_a_worker_that_lives_is_no_loss_however_often_redis_is_lost(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(reading, "_END", Given("", "return redis.error_reply('away')"))
        for _ in range(MOST_LOST + 1):
            with pytest.raises(redis.ResponseError, match="away"):
                with_redis(carefully)
    assert arguments.values(with_redis(carefully).rows) == [1]
    assert store.exists(keys.READING) == 0


def test_of_a_message_that_was_read_no_lost_reader_is_remembered(store: redis.Redis, with_redis: WithRedis) -> None:
    store.hset(keys.READING, FIELD, "lost-1 lost-2")
    assert arguments.values(with_redis(carefully).rows) == [1]
    assert not store.hexists(keys.READING, FIELD)


def test_a_message_that_was_given_up_is_given_up_at_once_when_it_comes_again(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    store.hset(keys.READING, FIELD, LOST)
    assert [bool(with_redis(carefully).fault) for _ in range(3)] == [True] * 3
    assert store.hget(keys.READING, FIELD) == LOST.encode()


def test_what_is_no_job_counts_no_more_once_it_was_read(store: redis.Redis, with_redis: WithRedis) -> None:
    with pytest.raises(MessageUnreadable):
        with_redis(lambda client: carefully(client, b"[" + PACKED))
    assert store.exists(keys.READING) == 0


def test_a_job_fails_when_its_message_has_ended_so_many_workers(store: redis.Redis, with_redis: WithRedis) -> None:
    store.hset(keys.READING, FIELD, LOST)
    job = with_redis(carefully)
    assert (job.job_id, job.rows, job.message) == ("job", [], PACKED)
    assert "workers were lost while reading it" in str(job.fault)


@pytest.mark.parametrize("given", [PACKED.replace(b'"job"', b"5"), b"x" * 2_000_000])
def test_a_message_without_an_id_is_put_aside_then(store: redis.Redis, with_redis: WithRedis, given: bytes) -> None:
    store.hset(keys.READING, FIELD, LOST)
    with pytest.raises(MessageUnreadable, match="workers were lost while reading it"):
        with_redis(lambda client: carefully(client, given))


def test_an_odd_message_is_not_in_the_way_of_those_fetched_with_it(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUECAST_MESSAGE_KEY", "k" * 32)
    from tests.support.service.environment import forget_cached_settings

    forget_cached_settings()
    odd = [json.dumps({**json.loads(PACKED), **more}).encode() for more in _odd_bodies()]
    for content in odd:
        store.lpush(QUEUE, content)
    job_id = submit().job_id

    async def take(client: Redis) -> None:
        async with running(client, adding=100) as now:
            async with asyncio.timeout(5):
                await until(lambda: now.sinks["adding"].ids == [job_id])
                await until(lambda: store.llen(keys.MALFORMED) == len(odd))
            assert now.intake.held == [job_id]

    with_redis(take)
    monkeypatch.undo()
    forget_cached_settings()
    assert store.hkeys(keys.LEASED) == [job_id.encode()]
    assert message_of(store, job_id).headers["id"] == job_id


def _odd_bodies() -> list[dict[str, Any]]:
    plain = {"task": "predict", "id": "odd", keys.SIGNATURE_HEADER: "0" * 64}
    return [
        {"body": body, "headers": headers, "properties": properties}
        for body in (None, 5, [1], {"a": 1}, "é", "\ud800")
        for headers in (plain, {**plain, "compression": "gzip"})
        for properties in ({}, {"body_encoding": "base64"}, {"delivery_info": 5, "priority": [1]})
    ]
