"""Clients of Redis: an answer or an error within two seconds, and errors without the driver's text."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import redis
from kombu.exceptions import OperationalError

from tests.support.ports import free_port
from workers import redis_client
from workers.embedded_redis import EmbeddedRedis
from workers.errors import QueueUnavailable
from workers.redis_client import connect, script, translated_errors


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


def test_errors_of_our_own_stay_what_they_are() -> None:
    with pytest.raises(KeyError), translated_errors():
        raise KeyError("a")


def test_a_script_is_registered_once_and_survives_its_loss(store: redis.Redis) -> None:
    answer = script(store, "return 7")
    assert answer is script(store, "return 7")
    assert answer() == 7
    store.script_flush()
    assert answer() == 7
