"""Slow links: large transfers may take long, and only those without progress time out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import redis

from tests.support.servers.proxy import Proxy
from tests.workers.conftest import submit
from tests.workers.engine.intake.test_redis import running
from tests.workers.stand_ins import RecordingIntake, context, deployment, queued_job
from workers import keys
from workers.engine.intake.leases import Leases
from workers.engine.serving import finish
from workers.errors import EndpointUndeployed
from workers.jobs import records, transitions
from workers.platform.redis import async_client as async_redis
from workers.platform.redis import client as redis_client
from workers.queues import arguments

MEBIBYTE = 1024 * 1024
#: Of one direction; what is sent takes several times as long as may be waited without a sign of life.
BYTES_PER_S = 4 * MEBIBYTE
LARGE = "x" * (6 * MEBIBYTE)
PATIENCE_S = 0.6


@pytest.fixture
def link(redis_url: str, store: redis.Redis) -> Iterator[Proxy]:
    """A slow link, as the service itself meets one."""
    with Proxy(urlsplit(redis_url).port or 0, bytes_per_s=BYTES_PER_S) as proxy:
        yield proxy


@pytest.fixture
def slow_link(link: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """A slow link, and clients that soon give up one on which nothing moves."""
    monkeypatch.setattr(redis_client, "ANSWER_TIMEOUT_S", PATIENCE_S)
    return link


def url_of(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


@pytest.mark.slow
def test_a_long_command_and_a_long_answer_take_longer_than_silence_may(slow_link: Proxy) -> None:
    client = redis_client.connect(url_of(slow_link))
    began = time.monotonic()
    assert client.set("key", LARGE)
    assert time.monotonic() - began > 2 * PATIENCE_S
    assert client.get("key") == LARGE.encode()
    client.close()


@pytest.mark.slow
async def test_the_engines_commands_and_answers_take_as_long(slow_link: Proxy) -> None:
    async with async_redis.connect(url_of(slow_link)) as client:
        assert await client.set("key", LARGE)
        assert await client.get("key") == LARGE.encode()


@pytest.mark.parametrize("size", [1, len(LARGE)], ids=["small", "large"])
async def test_a_link_on_which_nothing_moves_is_given_up(slow_link: Proxy, size: int) -> None:
    client = redis_client.connect(url_of(slow_link))
    assert client.ping()
    async with async_redis.connect(url_of(slow_link)) as engines:
        assert await engines.ping()
        slow_link.stall()
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            await engines.set("key", LARGE[:size])
        assert PATIENCE_S <= time.monotonic() - began < 10 * PATIENCE_S
    with pytest.raises(redis.TimeoutError):
        client.set("key", LARGE[:size])
    client.close()
    slow_link.resume()


@pytest.mark.slow
async def test_a_job_that_takes_longer_than_its_lease_to_arrive_is_fetched_once(
    link: Proxy, store: redis.Redis, redis_url: str
) -> None:
    lease_s, link.bytes_per_s, row = 0.8, MEBIBYTE // 2, LARGE[:MEBIBYTE]
    job_id = submit(row=row).job_id

    async with (
        async_redis.connect(redis_url) as other,
        async_redis.connect(url_of(link)) as client,
        running(client, lease_s=lease_s, adding=1) as now,
    ):
        # Other workers look for leases that have run out.
        began, others = time.monotonic(), Leases(other, lease_s, "another")
        while not now.sinks["adding"].jobs:
            with suppress(redis.TimeoutError):  # a busy machine: the next look will do
                assert await others.expire() == 0
            await asyncio.sleep(lease_s / 8)
        assert time.monotonic() - began > redis_client.ANSWER_TIMEOUT_S > lease_s
        assert now.sinks["adding"].ids == now.intake.held == [job_id]
        assert arguments.values(now.sinks["adding"].jobs[0].rows) == [row]
    assert store.zcard(keys.LEASES) == 1


async def test_outcomes_are_written_in_parts_of_so_many_bytes_and_at_least_one(
    store: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    write_ends = transitions.finish

    async def recorded(*about: object) -> list[bool]:
        sizes.append(len(about[2]))  # type: ignore[arg-type]
        return await write_ends(*about)  # type: ignore[arg-type]

    monkeypatch.setattr(transitions, "finish", recorded)
    monkeypatch.setattr(finish, "_WRITTEN_AT_ONCE_BYTES", 100_000)

    async with async_redis.connect(redis_url) as client:
        shared = context(client, intake=RecordingIntake())
        ends = [
            finish.failed(shared, queued_job(f"job-{number}"), EndpointUndeployed("x" * size), None, 2.0)
            for number, size in enumerate([30_000, 15_000, 15_000, 150_000, 150_000, 10])
        ]
        await finish.write(shared, deployment(), ends)
    assert sizes == [2, 1, 1, 1, 1]
    assert all(records.is_terminal(store.get(keys.record(f"job-{number}")) or b"") for number in range(6))  # type: ignore[arg-type]
