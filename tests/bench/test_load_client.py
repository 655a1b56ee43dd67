"""The benchmark's HTTP client reads answers however they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from bench.load_client import Load, Polled, closed_loop, open_loop, parsed, request

LENGTH = b"HTTP/1.1 202 ACCEPTED\r\ncontent-LENGTH: 5\r\nX: y\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


@pytest.mark.parametrize(("answer", "status"), [(LENGTH, 202), (CHUNKED, 200)])
def test_an_answer_is_read_once_its_last_byte_is_there(answer: bytes, status: int) -> None:
    assert all(parsed(answer[:end]) is None for end in range(len(answer) - 1))
    assert parsed(answer) == (status, b"hello")


def test_a_request_has_its_length_and_headers() -> None:
    expected = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nhi"
    assert request("POST", "/a", b"hi", Content_Type="text/plain") == expected


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/lost" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


class Jobs(Answers):
    """Each job has ended when it is looked at for the third time."""

    looks = 0

    def do_POST(self) -> None:
        self._answer(202, b"7")

    def do_GET(self) -> None:
        Jobs.looks += 1
        self._answer(200 if self.path == "/jobs/7" else 404, b"done" if Jobs.looks % 3 == 0 else b"not yet")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def server(answers: type[Answers] = Answers) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), answers) as running:
        running.daemon_threads = True
        running.block_on_close = False
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running.server_address[1]
        finally:
            running.shutdown()
            thread.join()


async def test_a_closed_loop_sends_as_many_requests_as_it_is_told() -> None:
    with server() as port:
        load = await closed_loop(port, request("GET", "/"), clients=3, seconds=30, status=200, requests=20)
    assert (len(load.latencies_s), load.errors) == (20, 0)
    assert load.check().quantile_ms(99) >= load.quantile_ms(50) > 0


async def test_a_client_that_polls_looks_until_its_job_has_ended() -> None:
    job = Polled(request("POST", "/"), lambda answer: request("GET", f"/jobs/{answer.decode()}"), b"done".__eq__)
    Jobs.looks = 0
    with server(Jobs) as port:
        load = await closed_loop(port, job, clients=1, seconds=30, status=200, requests=4)
    assert (len(load.latencies_s), load.errors, Jobs.looks) == (4, 0, 12)


async def test_a_job_that_is_gone_is_an_error_of_its_look() -> None:
    job = Polled(request("POST", "/"), lambda _: request("GET", "/jobs/8"), b"done".__eq__)
    with server(Jobs) as port:
        load = await closed_loop(port, job, clients=1, seconds=30, status=200, requests=1)
    assert (load.errors, load.first_error[:8]) == (1, "HTTP 404")


async def test_an_open_loop_sends_at_its_rate_and_waits_for_the_answers() -> None:
    with server() as port:
        load = await open_loop(port, request("GET", "/"), rate_per_s=100, seconds=0.2, status=200)
    assert (load.answers, load.errors) == (20, 0)


async def test_a_wrong_status_is_an_error_and_too_many_of_them_are_raised() -> None:
    with server() as port:
        load = await closed_loop(port, request("GET", "/lost"), clients=1, seconds=30, status=200, requests=3)
    with pytest.raises(RuntimeError, match="3 of 3 requests went wrong, such as: HTTP 404"):
        load.check()


async def test_nobody_who_listens_is_an_error() -> None:
    with server() as port:
        pass
    load = await closed_loop(port, request("GET", "/"), clients=2, seconds=1, status=200)
    assert load.errors == 2
    with pytest.raises(RuntimeError, match="Connect call failed"):
        load.check()


def test_no_answers_at_all_are_an_error() -> None:
    with pytest.raises(RuntimeError):
        Load().check()
