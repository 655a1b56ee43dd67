"""Streams of events on real sockets: hundreds at once, clients that go away, the server's end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.api.test_serve import Served
from tests.support.metrics import Scrape
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow]
STREAMS = 200


@pytest.fixture
def served(tmp_path: Path, redis_url: str, serving_file: Path) -> Iterator[Served]:
    found = Served(
        tmp_path, redis_url, serving_file, QUEUECAST_MAX_EVENT_STREAMS=str(STREAMS), QUEUECAST_EVENT_HEARTBEAT_S="0.5",
        QUEUECAST_MAX_HELD_WAITS="0", QUEUECAST_REQUEST_THREADS="2",
    )  # fmt: skip
    yield found
    found.stop()


def opened(served: Served, job_id: str) -> socket.socket:
    """Ask for a stream; return its connection."""
    connection = socket.create_connection(("127.0.0.1", served.port), 30)
    connection.sendall(f"GET /jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


def read_until(connection: socket.socket, enough: Callable[[bytes], bool]) -> bytes:
    read = b""
    while not enough(read) and (more := connection.recv(65_536)):
        read += more
    assert enough(read), read
    return read


def open_streams(served: Served) -> float | None:
    return Scrape(served.client.get("/metrics").text).value("queuecast_event_streams")


def test_chunks_come_over_the_socket_until_the_job_or_the_server_ends(served: Served) -> None:
    job_id = served.submit()
    with opened(served, job_id) as connection:
        read = read_until(connection, lambda read: b"\n\n:\n\n" in read.replace(b"\r\n3\r\n", b""))
        head, _, body = read.partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        assert lines[0] == "http/1.1 200 ok"
        assert {"content-type: text/event-stream", "transfer-encoding: chunked", "cache-control: no-store"} <= {*lines}
        assert body.lower().startswith(b"d\r\nretry: 2000\n\n\r\n")
        assert b"\r\nevent: queued\nid: queued-" in body
        served.client.delete(f"/jobs/{job_id}")
        end = read_until(connection, lambda read: read.endswith(b"0\r\n\r\n"))
        assert b"event: cancelled\n" in end
        # The connection is good for another request.
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    # The server's end doesn't wait for streams.
    job_id = served.submit()
    with opened(served, job_id) as connection:
        read_until(connection, lambda read: b"event: queued" in read)
        served.child.send(signal.SIGTERM)
        read_until(connection, lambda read: read.endswith(b"0\r\n\r\n"))
    assert served.child.wait() == 0
    assert "Traceback" not in served.child.log()


def test_hundreds_of_streams_keep_no_request_waiting_and_no_client_that_went_away_keeps_a_thread(
    served: Served,
) -> None:
    job_id = served.submit()
    with ExitStack() as closing:
        streams = [closing.enter_context(opened(served, job_id)) for _ in range(STREAMS)]
        for each in streams:
            read_until(each, lambda read: b"event: queued" in read)
        assert open_streams(served) == STREAMS
        answer = served.client.get(f"/jobs/{job_id}/events")
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_streams")
        # Every thread that is not a stream's goes on answering, whoever is in front of whom.
        others = [served.submit() for _ in range(20)]
        assert len(set(others)) == 20
        gone, stay = streams[::2], streams[1::2]
        for each in gone:
            each.close()
        eventually(lambda: open_streams(served) == len(stay), message="what nobody reads is given up")
        assert served.client.delete(f"/jobs/{job_id}").status_code == 200
        for each in stay:
            read_until(each, lambda read: b"event: cancelled" in read and read.endswith(b"0\r\n\r\n"))
    eventually(lambda: open_streams(served) == 0)
