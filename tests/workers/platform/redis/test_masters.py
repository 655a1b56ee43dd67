"""Connections leave a server that is no master any more, and refuse one that can't be used."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.servers.proxy import Proxy
from tests.support.servers.replicated_redis import Server
from tests.support.service.ports import free_port
from tests.support.waiting import eventually, until
from workers.engine.intake.leases import Leases
from workers.errors import SettingsWrong
from workers.platform.redis import async_client, client, masters
from workers.platform.redis.client import may_have_arrived, refuses_for_good
from workers.platform.redis.masters import NotMaster
from workers.platform.redis.start_check import refuse_wrong_redis
from workers.settings import load

pytestmark = pytest.mark.servers

#: A name that no DNS server knows.
NAME = "redis.moving.invalid"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two servers, which tests make masters and replicas."""
    folder = tmp_path_factory.mktemp("two")
    with Server(free_port(), folder / "one") as one, Server(free_port(), folder / "two") as two:
        yield one, two


@pytest.fixture
def pair(servers: tuple[Server, Server]) -> tuple[Server, Server]:
    """Two masters that know nothing of each other."""
    for server in servers:
        with server.client() as own:
            own.replicaof("NO", "ONE")
    return servers


@pytest.fixture
def moving(pair: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Lets `NAME` be the second server from now on, and makes the first one its replica: a managed Redis fails over."""
    one, two = pair
    with Proxy(two.port) as proxy:
        ports = [one.port]
        real = socket.getaddrinfo

        def looked_up(host: Any, port: Any, *args: Any, **more: Any) -> Any:
            if host in (NAME, NAME.encode()):
                found = real("127.0.0.1", port, *args, **more)
                return [(*each[:4], ("127.0.0.1", ports[0])) for each in found]
            return real(host, port, *args, **more)

        monkeypatch.setattr(socket, "getaddrinfo", looked_up)

        def move() -> None:
            ports[0] = proxy.port
            one.follow(two)

        yield move


def on_loop(url: str, what: Callable[[async_client.Client], Awaitable[None]]) -> None:
    async def done() -> None:
        async with async_client.connect(url) as own:
            await what(own)

    asyncio.run(done())


def test_a_write_to_a_demoted_master_is_done_on_the_new_one(moving: Callable[[], None]) -> None:
    own = client.connect(f"redis://{NAME}:6379/0")
    own.set("before", 1)
    moving()
    assert own.set("after", 2)
    assert own.connection_pool.get_connection().port == 6379  # by its name, at each connection
    own.close()


def test_what_is_read_from_a_demoted_master_is_not_believed_for_long(
    moving: Callable[[], None], pair: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = client.connect(f"redis://{NAME}:6379/0")
    own.set("stale", "old")
    moving()
    with pair[1].client() as new:
        new.set("stale", "new")
    monkeypatch.setattr(masters, "VERIFIED_FOR_S", 0.0)
    assert own.get("stale") == b"new"
    own.close()


def test_an_event_loop_leaves_a_demoted_master_with_all_that_listens(moving: Callable[[], None]) -> None:
    async def use(own: async_client.Client) -> None:
        add = own.register_script("return redis.call('INCR', KEYS[1])")
        heard: list[bytes] = []
        await add(["added"])
        subscription = await own.subscribe("news", heard.append)
        await asyncio.to_thread(moving)
        with pytest.raises(NotMaster) as refused:
            await add(["added"])
        assert not may_have_arrived(refused.value)
        assert not refuses_for_good(refused.value)
        with pytest.raises(redis.ConnectionError):
            await subscription.stay(5)
        assert await add(["added"]) >= 1
        again = await own.subscribe("news", heard.append)
        await own.publish("news", "x")
        await until(lambda: heard == [b"x"])
        again.end()

    on_loop(f"redis://{NAME}:6379/0", use)


def test_a_fetch_from_a_demoted_master_is_no_trouble_of_a_queue(moving: Callable[[], None]) -> None:
    async def use(own: async_client.Client) -> None:
        leases = Leases(own, 20.0)
        await leases.fetch({"adding": 1})
        await asyncio.to_thread(moving)
        with pytest.raises(NotMaster):
            await leases.fetch({"adding": 1})
        assert leases.refused == {}
        assert await leases.fetch({"adding": 1}) == []

    on_loop(f"redis://{NAME}:6379/0", use)


def test_an_event_loop_believes_no_old_answers_of_a_demoted_master(
    moving: Callable[[], None], pair: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(own: async_client.Client) -> None:
        read = own.register_script("return redis.call('GET', KEYS[1])")
        await own.set("stale", "old")
        assert (await read(["stale"]), await own.get("stale")) == (b"old", b"old")
        await asyncio.to_thread(moving)
        with pair[1].client() as new:
            new.set("stale", "new")
        monkeypatch.setattr(masters, "VERIFIED_FOR_S", 0.0)
        assert await own.get("stale") == b"new"
        assert await read(["stale"]) == b"new"

    on_loop(f"redis://{NAME}:6379/0", use)


def test_an_idle_script_connection_asks_for_the_role_first(
    moving: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(own: async_client.Client) -> None:
        read = own.register_script("return redis.call('GET', KEYS[1])")
        await read(["any"])
        await asyncio.to_thread(moving)
        monkeypatch.setattr(masters, "VERIFIED_FOR_S", 0.0)
        with pytest.raises(NotMaster, match="is a replica"):
            await read(["any"])

    on_loop(f"redis://{NAME}:6379/0", use)


def test_a_replica_is_refused_at_once(pair: tuple[Server, Server]) -> None:
    one, two = pair
    one.follow(two)
    with pytest.raises(NotMaster, match="looking for the master"):
        client.connect(one.url).ping()

    async def use(own: async_client.Client) -> None:
        with pytest.raises(NotMaster, match="looking for the master"):
            await own.ping()

    on_loop(one.url, use)


def test_a_pipeline_that_a_demotion_cuts_in_two_may_have_done_its_first_part(pair: tuple[Server, Server]) -> None:
    one, two = pair
    own = client.connect(one.url)
    with own.pipeline(transaction=False) as pipeline:
        pipeline.set("first", 1)
        pipeline.replicaof("127.0.0.1", two.port)
        pipeline.set("second", 2)
        with pytest.raises(redis.ConnectionError) as caught:
            pipeline.execute()
    assert may_have_arrived(caught.value)
    own.close()


def test_errors_of_demotion_are_known_in_all_their_forms() -> None:
    known = redis.ReadOnlyError("You can't write against a read only replica.")
    in_script = redis.ResponseError("Error running script (call to f_1): @user_script:1: -READONLY You can't write")
    down = redis.exceptions.MasterDownError("Link with MASTER is down")
    unblocked = redis.ResponseError("UNBLOCKED force unblock from blocking operation")
    assert all(map(masters.is_demotion, (known, in_script, down, unblocked)))
    assert not any(map(refuses_for_good, (known, in_script, down, unblocked)))
    assert not masters.is_demotion(redis.ResponseError("WRONGTYPE Operation"))


#: Its bus listens so far above its own port.
_BUS_ABOVE = 10_000


def port_with_a_bus() -> int:
    """Return a free port whose bus has one, too."""
    while True:
        port = free_port()
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port + _BUS_ABOVE))
            return port


class ClusterNode(Server):
    """A server in cluster mode; it refuses to serve a key, but says what it is."""

    def __init__(self, folder: Path) -> None:
        super().__init__(port_with_a_bus(), folder, {"cluster-enabled": "yes"})

    def _wait_until_it_answers(self) -> None:
        eventually(lambda: self.role() == "master", message="the node answers")


@pytest.mark.parametrize("variable", ["QUEUECAST_REDIS_URL", "QUEUECAST_BROKER_URL"])
def test_cluster_mode_is_refused_by_name_with_what_to_do_instead(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    with ClusterNode(tmp_path) as server:
        monkeypatch.setenv(variable, server.url)
        load.cache_clear()
        with pytest.raises(SettingsWrong) as caught:
            refuse_wrong_redis()
        load.cache_clear()
    assert str(caught.value).startswith(f"{variable}: This Redis runs in cluster mode")
    assert "queuecast docs redis-failover" in str(caught.value)


def test_a_redis_that_does_not_answer_yet_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUECAST_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    load.cache_clear()
    refuse_wrong_redis()
    load.cache_clear()
