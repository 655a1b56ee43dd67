"""Listening to channels as raw bytes, on a connection that is restored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis
from redis.asyncio import Redis
from redis.asyncio.connection import Connection

from tests.support.waiting import until
from tests.workers.conftest import WithRedis
from workers.embedded_redis.server import EmbeddedRedis
from workers.engine.intake import listener as listener_module
from workers.engine.intake.listener import QueueListener
from workers.engine.supervision import cancelled

CHANNEL = "queuecast:test"


class Heard(list[bytes]):
    """All received bytes."""

    def __init__(self) -> None:
        super().__init__()
        #: How often `on_connect` was called.
        self.connections = 0

    def connected(self) -> None:
        self.connections += 1


@asynccontextmanager
async def listening(client: Redis) -> AsyncIterator[Heard]:
    heard = Heard()
    task = asyncio.create_task(QueueListener(client, [CHANNEL], heard.append, heard.connected).run())
    try:
        await until(lambda: heard.connections)
        yield heard
    finally:
        await cancelled([task])


def test_what_is_published_is_heard(store: redis.Redis, with_redis: WithRedis) -> None:
    async def listen(client: Redis) -> None:
        async with listening(client) as heard:
            store.publish(CHANNEL, "the news")
            await until(lambda: any(b"the news" in each for each in heard))
            store.publish("queuecast:other", "of no interest")
            store.publish(CHANNEL, "the next")
            await until(lambda: any(b"the next" in each for each in heard))
            assert not any(b"of no interest" in each for each in heard)

    with_redis(listen)


def test_everything_is_looked_for_again_after_a_lost_connection(store: redis.Redis, with_redis: WithRedis) -> None:
    async def listen(client: Redis) -> None:
        async with listening(client) as heard:
            for each in store.client_list(_type="pubsub"):
                store.client_kill_filter(_id=each["id"])
            await until(lambda: heard.connections == 2)
            store.publish(CHANNEL, "again")
            await until(lambda: any(b"again" in each for each in heard))

    with_redis(listen)


@pytest.mark.slow
def test_a_restart_of_redis_is_got_over(store: redis.Redis, redis_server: EmbeddedRedis, with_redis: WithRedis) -> None:
    async def listen(client: Redis) -> None:
        async with listening(client) as heard:
            redis_server.stop()
            redis_server.start()
            await until(lambda: heard.connections == 2)
            store.publish(CHANNEL, "again")
            await until(lambda: any(b"again" in each for each in heard))

    with_redis(listen)


def test_a_name_that_comes_in_pieces_is_heard(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "_CHUNK_BYTES", 7)

    async def listen(client: Redis) -> None:
        async with listening(client) as heard:
            store.publish(CHANNEL, "a-name-longer-than-a-chunk")
            await until(lambda: any(b"a-name-longer-than-a-chunk" in each for each in heard))

    with_redis(listen)


@pytest.mark.parametrize("chunk_bytes", [7, 64, 65_536])
def test_a_message_is_passed_on_whole_once(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    """Seen twice, each job would be looked for twice."""
    monkeypatch.setattr(listener_module, "_CHUNK_BYTES", chunk_bytes)

    async def listen(client: Redis) -> None:
        async with listening(client) as heard:
            for number in range(20):
                store.publish(CHANNEL, f"job {number} is queued")
                await until(lambda number=number: any(b"job %d is queued" % number in each for each in heard))  # type: ignore[misc]
            store.publish(CHANNEL, "the end")
            await until(lambda: any(b"the end" in each for each in heard))
            for number in range(20):
                assert sum(b"job %d is queued\r\n" % number in each for each in heard) == 1

    with_redis(listen)


def test_silence_is_no_reason_to_connect_anew(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "_SILENCE_S", 0.1)

    async def listen(client: Redis) -> None:
        async with listening(client) as heard:
            # The answers to its questions whether the connection lives.
            await until(lambda: sum(b"PONG" in each.upper() for each in heard) >= 3)
            assert heard.connections == 1

    with_redis(listen)


async def test_a_server_that_does_not_answer_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "_SILENCE_S", 0.1)
    monkeypatch.setattr(listener_module, "_PAUSE_S", 0.01)
    connections: list[object] = []

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Confirm all commands up to the subscription, then send nothing."""
        connections.append(writer)
        while data := await reader.read(10_000):
            if b"PSUBSCRIBE" in data:
                writer.write(b"*3\r\n$10\r\npsubscribe\r\n$14\r\nqueuecast:test\r\n:1\r\n")
            elif b"PING" not in data:
                writer.write(b"+OK\r\n" * data.count(b"CLIENT"))
        writer.close()

    server = await asyncio.start_server(answer_once, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    async with server, Redis(port=port, protocol=2) as client, listening(client) as heard:
        await until(lambda: heard.connections >= 2)
    assert len(connections) >= 2


async def test_the_one_private_name_of_redis_py_is_still_there(redis_url: str) -> None:
    connection = Connection(port=int(redis_url.rpartition(":")[2].partition("/")[0]))
    await connection.connect()  # type: ignore[no-untyped-call]
    assert isinstance(connection._reader, asyncio.StreamReader)
    await connection.disconnect()
