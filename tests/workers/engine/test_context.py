"""The context of an engine: retries, background tasks, and their end."""

from __future__ import annotations

import asyncio
import logging

import pytest
import redis
from redis.asyncio import Redis

from tests.workers.conftest import WithRedis
from tests.workers.stand_ins import context, queued_job
from workers.engine import supervision
from workers.engine.supervision import cancelled, persistently


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(supervision, "_LONGEST_RETRY_S", 0.004)
    monkeypatch.setattr(supervision, "_CANCEL_AGAIN_S", 0.01)


@pytest.mark.parametrize("error", [redis.ConnectionError("away"), redis.TimeoutError("slow"), OSError("odd")])
async def test_what_must_be_done_is_tried_until_it_is(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    tries = 0

    async def call() -> str:
        nonlocal tries
        tries += 1
        if tries < 5:
            raise error
        return "done"

    with caplog.at_level(logging.WARNING):
        assert await persistently("write it", call) == "done"
    assert tries == 5
    assert caplog.text.count("failed to write it") == 4


async def test_an_error_of_our_own_is_not_tried_again() -> None:
    async def call() -> None:
        raise KeyError("a")

    with pytest.raises(KeyError):
        await persistently("write it", call)


def test_settling_waits_for_everything_in_the_background_and_what_it_begins(
    store: redis.Redis, with_redis: WithRedis, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    async def run(client: Redis) -> None:
        shared = context(client)

        async def second() -> None:
            await asyncio.sleep(0.01)
            done.append("second")

        async def first() -> None:
            await asyncio.sleep(0.01)
            shared.in_background(second())
            done.append("first")

        async def failing() -> None:
            raise KeyError("a")

        shared.in_background(first())
        shared.in_background(failing())
        await shared.settle()

    with_redis(run)
    assert done == ["first", "second"]
    assert "unexpected error in a background task" in caplog.text


def test_jobs_are_given_back_by_their_tags(store: redis.Redis, with_redis: WithRedis) -> None:
    async def run(client: Redis) -> list[str]:
        shared = context(client)
        await shared.give_back([queued_job("a"), queued_job("b")])
        given_back: list[str] = shared.intake.given_back  # type: ignore[attr-defined]
        return given_back

    assert with_redis(run) == ["a", "b"]


async def test_a_task_that_forgets_its_cancellation_is_cancelled_again() -> None:
    forgotten = 0

    async def forgetful() -> None:
        nonlocal forgotten
        while True:
            try:
                await asyncio.sleep(1_000)
            except asyncio.CancelledError:
                forgotten += 1
                if forgotten == 3:
                    raise

    tasks = [asyncio.create_task(forgetful()), asyncio.create_task(asyncio.sleep(1_000))]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await cancelled(tasks)
    assert all(task.cancelled() for task in tasks)
    await cancelled([])
    assert forgotten == 3


@pytest.mark.slow
def test_tasks_that_work_with_redis_all_the_time_can_be_ended(store: redis.Redis, with_redis: WithRedis) -> None:
    # At some of these moments, redis-py drops a cancellation.
    async def busy(client: Redis) -> None:
        while True:
            await client.ping()

    async def run(client: Redis) -> None:
        for _ in range(5):
            tasks = [asyncio.create_task(busy(client)) for _ in range(5)]
            await asyncio.sleep(0.005)
            async with asyncio.timeout(20):
                await cancelled(tasks)

    with_redis(run)
    assert store.ping()
