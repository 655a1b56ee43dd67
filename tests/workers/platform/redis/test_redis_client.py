"""Clients of Redis: an answer or an error within two seconds, and errors without the driver's text."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import redis
from kombu.exceptions import OperationalError

from tests.support.servers.proxy import Proxy
from tests.support.service.environment import REPOSITORY
from tests.support.service.ports import free_port
from workers.embedded_redis.server import EmbeddedRedis
from workers.errors import QueueUnavailable
from workers.platform.redis import client as redis_client
from workers.platform.redis.client import connect, may_have_arrived, translated_errors


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.slow
def test_a_server_that_says_nothing_is_an_error_after_one_try(silent_port: int) -> None:
    client = connect(f"redis://127.0.0.1:{silent_port}/0")
    began = time.monotonic()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    assert redis_client.ANSWER_TIMEOUT_S <= time.monotonic() - began < 2 * redis_client.ANSWER_TIMEOUT_S
    client.close()


def test_a_port_where_nobody_listens_is_an_error_at_once() -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(redis.ConnectionError):
        client.ping()
    client.close()


def test_a_connection_that_the_server_closed_meanwhile_is_made_anew(
    store: redis.Redis, redis_server: EmbeddedRedis
) -> None:
    client = connect(redis_server.url)
    assert client.ping()
    for each in store.client_list():
        if each["id"] != str(store.client_id()):
            store.client_kill_filter(_id=each["id"])
    assert client.ping()
    client.close()


def test_more_callers_than_the_librarys_own_limit_get_answers(redis_url: str) -> None:
    client = connect(redis_url)
    answers: list[bool] = []
    start = threading.Barrier(150)

    def ask() -> None:
        start.wait()
        client.blpop(["nothing"], timeout=0.3)  # type: ignore[arg-type, unused-ignore]
        answers.append(True)

    threads = [threading.Thread(target=ask) for _ in range(150)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 150
    client.close()


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("Error 111 connecting to redis://u:s3cret@h"),
        redis.TimeoutError("s3cret"),
        redis.ResponseError("OOM command not allowed s3cret"),
        OperationalError("s3cret"),
        OSError("s3cret"),
    ],
)
def test_errors_of_drivers_are_one_error_without_their_text(error: Exception) -> None:
    with pytest.raises(QueueUnavailable) as caught, translated_errors():
        raise error
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_an_error_tells_whether_the_command_may_have_arrived(redis_url: str) -> None:
    port = connect(redis_url).connection_pool.connection_kwargs["port"]
    with Proxy(port) as proxy:
        client = connect(f"redis://127.0.0.1:{proxy.port}/0")
        client.connection_pool.connection_kwargs["socket_timeout"] = 0.1
        client.ping()
        proxy.stall()
        with pytest.raises(redis.TimeoutError) as late:
            client.ping()
        client.close()
    with pytest.raises(redis.ConnectionError) as away:
        client.ping()
    assert (may_have_arrived(late.value), may_have_arrived(away.value)) == (True, False)


def test_a_command_that_was_lost_on_the_way_may_have_arrived_although_the_next_try_found_nobody() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def take_one_command_and_die() -> None:
            connection, _ = server.accept()
            while b"PING" not in (got := connection.recv(4096)):
                connection.sendall(b"+OK\r\n" * (got.count(b"SETINFO") + got.count(b"HELLO")))
            server.close()
            connection.close()

        dying = threading.Thread(target=take_one_command_and_die)
        dying.start()
        client = connect(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        with pytest.raises(redis.ConnectionError, match="connecting to") as caught:
            client.ping()
        dying.join()
    assert may_have_arrived(caught.value)
    client.close()


def test_errors_of_our_own_stay_what_they_are() -> None:
    with pytest.raises(KeyError), translated_errors():
        raise KeyError("a")


def test_no_step_is_a_transaction() -> None:
    """Redis 6.2 and 7.0 refuse all of one where they are full, so that nothing would end."""
    sources = {path: path.read_text(encoding="utf-8") for path in (REPOSITORY / "workers").rglob("*.py")}
    assert [str(path) for path, text in sources.items() if "transaction=True" in text] == []
