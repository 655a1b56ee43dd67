"""Which event loops the service makes, and connections that are lost just before something is sent on them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest
import redis
import uvloop
from redis.asyncio.connection import AbstractConnection

from workers.errors import SettingsWrong
from workers.platform.loops import event_loops
from workers.platform.redis import async_client
from workers.platform.redis.async_client import Client, open_listening
from workers.platform.redis.direct_connections import DirectConnection
from workers.settings import load

OnLoop = Callable[[Callable[[Client], Awaitable[None]]], None]


@pytest.fixture(params=[event_loops.ASYNCIO, event_loops.UVLOOP])
def on_loop(request: pytest.FixtureRequest, redis_url: str) -> OnLoop:
    """Runs coroutines on a loop of each kind."""

    def run(what: Callable[[Client], Awaitable[None]]) -> None:
        async def done() -> None:
            assert event_loops.name_of(asyncio.get_running_loop()) == request.param
            async with async_client.connect(redis_url) as client:
                await what(client)

        with asyncio.Runner(loop_factory=event_loops.factory(request.param)) as runner:
            runner.run(done())

    return run


async def lost(client: Client) -> AbstractConnection:
    """Open a connection, and lose it before its owner has noticed."""
    connection = await open_listening(client)
    writer = connection._writer
    assert writer is not None
    writer.transport.abort()
    await writer.wait_closed()
    return connection


@pytest.mark.parametrize(
    ("wanted", "kind"), [("uvloop", uvloop.Loop), ("asyncio", asyncio.SelectorEventLoop)]
)
def test_a_loop_is_of_the_kind_that_is_wanted(wanted: str, kind: type[asyncio.AbstractEventLoop]) -> None:
    loop = event_loops.factory(wanted)()
    try:
        assert isinstance(loop, kind)
    finally:
        loop.close()


def test_where_uvloop_is_not_installed_the_setting_that_names_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.setenv("QUEUECAST_EVENT_LOOP", "uvloop")
    load.cache_clear()
    with pytest.raises(SettingsWrong, match=r"^QUEUECAST_EVENT_LOOP='uvloop': needs uvloop, .*queuecast\[uvloop\]"):
        load()
    load.cache_clear()


def test_a_command_on_a_connection_that_was_just_lost_fails_as_lost(on_loop: OnLoop) -> None:
    async def lose(client: Client) -> None:
        connection = await lost(client)
        with pytest.raises(redis.ConnectionError):
            await connection.send_command("PING")

    on_loop(lose)


def test_a_connection_that_was_lost_is_not_taken_over(on_loop: OnLoop) -> None:
    async def lose(client: Client) -> None:
        connection = await lost(client)
        with pytest.raises(redis.ConnectionError):
            DirectConnection(connection)

    on_loop(lose)


def test_a_subscription_that_was_lost_says_so_also_to_who_pings(on_loop: OnLoop) -> None:
    async def lose(client: Client) -> None:
        subscription = await client.subscribe("a-channel", lambda _: None)
        client.leave_server()
        with pytest.raises(redis.ConnectionError):
            await subscription.stay(10)
        subscription.ping()
        with pytest.raises(redis.ConnectionError):
            await subscription.stay(10)

    on_loop(lose)
