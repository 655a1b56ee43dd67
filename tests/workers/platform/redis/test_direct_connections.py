"""Scripts run on connections of their own: their replies, their errors, and links that are lost, cut or silent."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis

from tests.support.servers.proxy import Proxy
from tests.support.service.ports import free_port
from workers.platform.redis import async_client
from workers.platform.redis import client as redis_client
from workers.platform.redis.async_client import Client
from workers.platform.redis.client import may_have_arrived

MEBIBYTE = 1024 * 1024
ECHO = """
if ARGV[1] == 'wrong' then return redis.error_reply('WRONG as asked') end
if ARGV[1] == 'long' then return string.rep('x', tonumber(ARGV[2])) end
return ARGV[1]
"""
PATIENCE_S = 0.6


def call(*arguments: str | int) -> tuple[str | int, ...]:
    """Return the command that runs `ECHO`."""
    return "EVALSHA", hashlib.sha1(ECHO.encode()).hexdigest(), 0, *arguments


@pytest.fixture
def link(redis_url: str, store: redis.Redis) -> Iterator[Proxy]:
    """A link to Redis, which has the script."""
    store.script_load(ECHO)
    with Proxy(urlsplit(redis_url).port or 0, bytes_per_s=4 * MEBIBYTE) as proxy:
        yield proxy


def connect(link: Proxy) -> Client:
    """Return a client whose connections are through the link."""
    return async_client.connect(f"redis://127.0.0.1:{link.port}/0")


async def test_each_command_of_a_round_trip_has_its_own_reply_or_error(link: Proxy) -> None:
    async with connect(link) as client:
        first, wrong, last = await client.run_scripts([call("first"), call("wrong"), call("last")])
        assert (first, last) == (b"first", b"last")
        assert isinstance(wrong, redis.ResponseError)
        unknown = ("EVALSHA", "0" * 40, 0)
        with pytest.raises(redis.exceptions.NoScriptError):
            await client.execute_command(*unknown)
        with pytest.raises(redis.DataError):
            await client.execute_command("EVALSHA", "0" * 40, 0, None)


async def test_calls_at_once_each_get_their_own_reply(link: Proxy) -> None:
    async with connect(link) as client:
        texts = [str(number) for number in range(50)]
        replies = await asyncio.gather(*(client.run_scripts([call(text), call(text * 2)]) for text in texts))
        assert replies == [[text.encode(), (text * 2).encode()] for text in texts]


async def test_a_caller_that_goes_away_takes_no_reply_from_the_next_one(link: Proxy) -> None:
    async with connect(link) as client:
        assert await client.run_scripts([call("opened")]) == [b"opened"]
        leaving = asyncio.create_task(client.run_scripts([call("gone")]))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await client.run_scripts([call("next")]) == [b"next"]
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert await client.run_scripts([call("after")]) == [b"after"]


async def test_a_call_fails_if_its_connection_is_cut_and_the_next_one_has_a_new_connection(link: Proxy) -> None:
    async with connect(link) as client:
        assert await client.run_scripts([call("opened")]) == [b"opened"]
        link.stall()
        waiting = asyncio.create_task(client.run_scripts([call("cut")]))
        await asyncio.sleep(0)
        link.cut()
        with pytest.raises(redis.ConnectionError) as caught:
            await waiting
        assert may_have_arrived(caught.value)
        link.resume()
        assert await client.run_scripts([call("again")]) == [b"again"]


async def test_a_server_that_is_not_there_has_received_nothing() -> None:
    async with async_client.connect(f"redis://127.0.0.1:{free_port()}/0") as client:
        with pytest.raises(redis.ConnectionError) as caught:
            await client.run_scripts([call("nobody")])
    assert not may_have_arrived(caught.value)


async def test_a_long_reply_takes_longer_than_silence_may(link: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connect(link) as client:
        monkeypatch.setattr(redis_client, "ANSWER_TIMEOUT_S", PATIENCE_S)
        link.bytes_per_s, size_bytes = MEBIBYTE, MEBIBYTE * 3 // 2
        began = time.monotonic()
        assert await client.run_scripts([call("long", size_bytes)]) == [b"x" * size_bytes]
        assert time.monotonic() - began > 2 * PATIENCE_S


async def test_a_script_is_given_up_when_nothing_moves(link: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    async with connect(link) as client:
        assert await client.run_scripts([call("opened")]) == [b"opened"]
        monkeypatch.setattr(redis_client, "ANSWER_TIMEOUT_S", PATIENCE_S)
        link.stall()
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            await client.run_scripts([call("lost")])
        assert PATIENCE_S <= time.monotonic() - began < 10 * PATIENCE_S
        link.resume()
        assert await client.run_scripts([call("again")]) == [b"again"]


async def test_longer_calls_than_a_connection_takes_at_once_are_answered_too(link: Proxy) -> None:
    async with connect(link) as client:
        text = "x" * (2 * MEBIBYTE)
        short, long, wrong = await client.run_scripts([call("short"), call(text), call("wrong")])
        assert (short, long) == (b"short", text.encode())
        assert isinstance(wrong, redis.ResponseError)


async def test_a_subscription_passes_messages_on_and_tells_of_its_loss(link: Proxy, store: redis.Redis) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    async with connect(link) as client, asyncio.timeout(20):
        subscription = await client.subscribe("channel", heard.put_nowait)
        began = subscription.heard_at
        await asyncio.to_thread(store.publish, "channel", b"a\x00message")
        assert await heard.get() == b"a\x00message"
        await subscription.stay(0.01)
        subscription.ping()
        while subscription.heard_at <= began:
            await subscription.stay(0.01)
        link.cut()
        with pytest.raises(redis.ConnectionError):
            await subscription.stay(20)


async def test_a_subscription_that_redis_refuses_is_an_error(link: Proxy, store: redis.Redis) -> None:
    store.acl_setuser("mute", enabled=True, passwords=["+secret"], commands=["+@all"], channels=["known"])
    try:
        async with async_client.connect(f"redis://mute:secret@127.0.0.1:{link.port}/0") as client:
            with pytest.raises(redis.exceptions.NoPermissionError):
                await client.subscribe("unknown", lambda _: None)
    finally:
        store.acl_deluser("mute")
