"""The server on real sockets: what a handler and a WSGI app get and send, slow clients, a full house, its end."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from api.errors import RequestMalformed
from api.http.exchange import Answer, Request
from api.http.server.body import Body, hurry
from api.http.server.http_server import HttpServer, nothing_itself
from tests.support.service.ports import free_port, refuses_connections
from tests.support.waiting import eventually

Start = Callable[..., Any]
_STATUS = {"/nothing": "204 No Content", "/unchanged": "304 Not Modified"}


class App:
    """A WSGI app that answers what its path says, and remembers what it got."""

    def __init__(self) -> None:
        self.environs: dict[str, dict[str, Any]] = {}
        #: How each body ended, by path.
        self.bodies: dict[str, bytes | str] = {}
        self.closed: list[str] = []
        self.may_answer = threading.Event()

    def __call__(self, environ: dict[str, Any], start: Start) -> Any:
        path = environ["PATH_INFO"]
        self.environs[path] = environ
        if path.startswith("/hurried"):
            hurry(environ, 0.5)
        try:
            self.bodies[path] = environ["wsgi.input"].read()
        except RequestMalformed as error:
            self.bodies[path] = str(error)
        if path == "/held":
            assert self.may_answer.wait(30)
        if path == "/fails":
            raise ValueError("a secret")
        if path == "/late":
            start("200 OK", [])
            start("500 Internal Server Error", [("Content-Length", "3")], (ValueError, ValueError("late"), None))
            return [b"bad"]
        start(_STATUS.get(path, "200 OK"), [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), *_length_of(path)])
        return _Parts(self, path)


class _Parts:
    def __init__(self, app: App, path: str) -> None:
        self._app = app
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        if self._path not in _STATUS:
            yield from (b"one", b"", b"two")
        if self._path == "/breaks-off":
            raise ValueError("in the middle")

    def close(self) -> None:
        self._app.closed.append(self._path)


def _length_of(path: str) -> list[tuple[str, str]]:
    return [] if path in {*_STATUS, "/streamed", "/breaks-off"} else [("Content-Length", "6")]


class Loop:
    """A handler of what is below /loop; remembers how streams end."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        #: What each request's environment and body were.
        self.environs: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], body: Body) -> Awaitable[Answer] | None:
        if not environ["PATH_INFO"].startswith("/loop"):
            return None
        self.environs.append(environ)
        return self._answer(environ["PATH_INFO"], body)

    async def _answer(self, path: str, body: Body) -> Answer:
        if path == "/loop/fails":
            raise ValueError("a secret")
        if path == "/loop/stream":
            return Answer(200, {"Content-Type": "text/event-stream"}, stream=self._frames())
        if path == "/loop/held":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.ends.append("given up")
                raise
        if path == "/loop/short":
            return Answer(200, stream=self._frames(2))
        if path == "/loop/nothing":
            return Answer(204)
        return Answer(200, {"X-Own": "1"}, await body.read(100_000))

    async def _frames(self, count: int = 0) -> AsyncIterator[bytes]:
        try:
            yield b"frame"
            for _ in range(count - 1):
                yield b"frame"
            while not count:
                await asyncio.sleep(30)
        finally:
            self.ends.append("closed")


class Running:
    """A server in a thread of its own, and raw connections to it."""

    def __init__(self, app: Callable[..., Any], handler: Any, **settings: Any) -> None:
        self.port = free_port()
        usual: dict[str, Any] = {"threads": 4, "waiting": 2, "connections": 50, "backlog": 128, "idle_ms": 30_000}
        usual |= {"silence_s": 1.5, "bytes_per_s": 1_000, "refused": self._note}
        #: The ids and statuses of requests that were refused.
        self.refused: list[tuple[str, int]] = []
        self.server = HttpServer(app, handler, **{**usual, **settings})
        self._sockets = ExitStack()
        self._ended = threading.Event()
        listening = threading.Event()

        def run() -> None:
            try:
                asyncio.run(self.server.serve("127.0.0.1", self.port, listening.set))
            finally:
                self._ended.set()

        threading.Thread(target=run, daemon=True).start()
        assert listening.wait(30)

    def _note(self, request: Request, status: int) -> None:
        self.refused.append((request.request_id, status))

    def connect(self, sent: bytes = b"") -> socket.socket:
        found = self._sockets.enter_context(socket.create_connection(("127.0.0.1", self.port), 30))
        found.sendall(sent)
        return found

    def begin(self, path: str, length: str = "Content-Length: 50000", part: bytes = b"") -> socket.socket:
        """Begin a request with a body."""
        return self.connect(f"POST {path} HTTP/1.1\r\nHost: here\r\n{length}\r\n\r\n".encode() + part)

    def ask(self, path: str, method: str = "GET", headers: str = "", body: bytes = b"") -> tuple[int, str, bytes]:
        """Return status, headers in small letters, and body as it came."""
        head = f"{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n".encode()
        return answer_on(self.connect(head + body))

    def ended(self, timeout_s: float) -> bool:
        return self._ended.wait(timeout_s)

    def stop(self) -> None:
        self._sockets.close()
        self.server.stop()
        assert self.ended(30)


def answer_on(connection: socket.socket) -> tuple[int, str, bytes]:
    """Read until the server closes the connection."""
    read = b""
    while more := connection.recv(65_536):
        read += more
    head, _, body = read.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), body


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def running(app: App, loop: Loop) -> Iterator[Running]:
    found = Running(app, loop)
    yield found
    app.may_answer.set()
    found.stop()


def test_handler_and_app_get_the_same_environment_as_wsgi_has_it(running: Running, app: App, loop: Loop) -> None:
    headers = (
        "X-A: 1\r\nX-A: 2\r\nCookie: a=1\r\nCookie: b=2\r\nX-Other: é\r\nContent-Type: a/b\r\nContent-Length: 2\r\n"
    )
    status, _, _ = running.ask("/here%20%C3%A9%2F%ff?q=%20b&c", "PATCH", headers, b"ok")
    assert status == 200
    [(path, environ)] = app.environs.items()
    # As UTF-8 whose bytes are shown as Latin-1; what is no UTF-8 is replaced, as werkzeug would.
    assert path == "/here é/�".encode().decode("latin-1")
    assert app.bodies[path] == b"ok"
    expected = {
        "REQUEST_METHOD": "PATCH", "QUERY_STRING": "q=%20b&c", "HTTP_X_A": "1,2", "HTTP_COOKIE": "a=1;b=2",
        # A value that isn't ASCII is there, but empty.
        "HTTP_X_OTHER": "", "CONTENT_TYPE": "a/b", "CONTENT_LENGTH": "2", "HTTP_HOST": "here", "SCRIPT_NAME": "",
        "REMOTE_ADDR": "127.0.0.1", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": str(running.port),
        "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http", "wsgi.input_terminated": True,
    }  # fmt: skip
    assert {name: environ.get(name) for name in expected} == expected
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(environ)
    assert running.ask("/loop/read", "PATCH", headers, b"ok")[2] == b"ok"
    [there] = loop.environs
    same = set(environ) - {"PATH_INFO", "QUERY_STRING", "wsgi.input", "queuecast.body"}
    assert {name: there[name] for name in same} == {name: environ[name] for name in same}


@pytest.mark.parametrize(
    ("path", "method", "status", "length", "body"),
    [
        ("/app", "GET", 200, 6, b"onetwo"),
        ("/app", "HEAD", 200, 6, b""),
        ("/nothing", "GET", 204, None, b""),
        ("/unchanged", "GET", 304, None, b""),
        ("/streamed", "GET", 200, None, b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
        ("/streamed", "HEAD", 200, None, b""),
        ("/late", "GET", 500, 3, b"bad"),
        ("/loop/x", "GET", 200, 0, b""),
        ("/loop/nothing", "GET", 204, None, b""),
        ("/loop/short", "GET", 200, None, b"5\r\nframe\r\n5\r\nframe\r\n0\r\n\r\n"),
        ("/loop/stream", "HEAD", 200, None, b""),
    ],
)
def test_answers_have_the_length_or_the_chunks_of_their_bodies(
    running: Running, app: App, path: str, method: str, status: int, length: int | None, body: bytes
) -> None:
    answer = running.ask(path, method)
    assert (answer[0], answer[2].replace(b"\r\n6\r\nonetwo", b"\r\n3\r\none\r\n3\r\ntwo")) == (status, body)
    assert ("content-length" in answer[1]) == (length is not None)
    if length is not None:
        assert f"\r\ncontent-length: {length}\r\n" in f"{answer[1]}\r\n"
    if not path.startswith("/loop") and path != "/late":
        assert "\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n" in f"{answer[1]}\r\n", "each is a header of its own"
        eventually(lambda: app.closed == [path])


@pytest.mark.parametrize("path", ["/fails", "/loop/fails"])
def test_a_failure_nobody_expected_is_a_problem_document_and_a_line_in_the_log(
    running: Running, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, head, body = running.ask(path, headers="X-Request-ID: my-own\r\n")
    problem = json.loads(body)
    assert (status, problem["code"], problem["request_id"]) == (500, "internal_error", "my-own")
    assert "\r\nx-request-id: my-own\r\n" in head
    assert "content-type: application/problem+json" in head
    assert b"secret" not in body
    assert "request my-own failed: ValueError('a secret')" in caplog.text
    assert running.ask("/app")[0] == 200, "it goes on"


def test_a_failure_in_the_middle_of_a_stream_is_logged_and_its_iterable_closed(
    running: Running, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    status, _, _ = running.ask("/breaks-off")
    assert status == 200
    assert app.closed == ["/breaks-off"]
    eventually(lambda: "in the middle" in caplog.text)


def test_a_body_reaches_a_thread_piece_by_piece_and_the_connection_goes_on(running: Running, app: App) -> None:
    sent = bytes(range(256)) * 8_192
    connection = running.begin("/app", f"Content-Length: {len(sent)}", sent)
    assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
    assert app.bodies["/app"] == sent
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (b"a" * 70_000, b"b"))
    connection.sendall(
        b"POST /chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
    assert app.bodies["/chunked"] == b"a" * 70_000 + b"b"
    connection.sendall(b"POST /expects HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert connection.recv(1_000).startswith(b"HTTP/1.1 100")
    connection.sendall(b"ok")
    assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
    assert app.bodies["/expects"] == b"ok"


@pytest.mark.parametrize("length", ["Content-Length: 100001", "Transfer-Encoding: chunked"])
def test_a_body_over_the_handlers_limit_is_refused_and_not_held(running: Running, length: str) -> None:
    part = b"" if length.startswith("C") else b"186a1\r\n" + b"." * 100_001
    status, _, body = answer_on(running.begin("/loop/read", length, part))
    problem = json.loads(body)
    assert (status, problem["code"]) == (413, "body_too_large")
    assert problem["detail"].endswith("It takes 100000 bytes.")


@pytest.mark.parametrize(("path", "status"), [("/loop/read", 400), ("/small", 400), ("/large", 200), ("/chunked", 200)])
def test_a_body_that_stops_coming_is_given_up_and_its_connection_ended(
    running: Running, app: App, path: str, status: int
) -> None:
    length = {"/small": "Content-Length: 100", "/chunked": "Transfer-Encoding: chunked"}
    part = b"4\r\nhalf\r\n" if path == "/chunked" else b"half"
    began = time.monotonic()
    answer = answer_on(running.begin(path, length.get(path, "Content-Length: 50000"), part))
    assert 1.2 < time.monotonic() - began < 10
    assert answer[0] == status
    if status == 400:
        assert json.loads(answer[2])["detail"] == "The body has stopped coming."
        assert path not in app.environs, "it took no thread"
    else:
        assert app.bodies[path] == "The body has stopped coming."


@pytest.mark.parametrize("path", ["/loop/read", "/small", "/large", "/hurried"])
def test_a_body_that_trickles_is_given_up(running: Running, app: App, path: str) -> None:
    length = "Content-Length: 100" if path == "/small" else "Content-Length: 50000"
    connection = running.begin(path, length)
    quick = running.begin("/quick" if path != "/hurried" else "/hurried/quick")
    connection.setblocking(False)
    began = time.monotonic()
    read = b""

    def is_answered() -> bool:
        nonlocal read
        try:
            connection.send(b".")
            read = connection.recv(65_536)
        except (BlockingIOError, ConnectionError):
            pass
        return bool(read) or str(app.bodies.get(path)).startswith("The body")

    quick.sendall(b"q" * 50_000)
    eventually(is_answered, 30)
    assert (0.3 if path == "/hurried" else 1.2) < time.monotonic() - began < 10
    assert b"The body comes too slowly." in read or app.bodies[path] == "The body comes too slowly."
    assert quick.recv(1_000).startswith(b"HTTP/1.1 200")


def test_a_slow_body_that_keeps_its_rate_is_taken(running: Running) -> None:
    connection = running.begin("/loop/read", "Content-Length: 5000")
    for _ in range(25):  # within 2.5 s; silence is given up after 1.5 s
        connection.sendall(b"." * 200)
        time.sleep(0.1)
    assert connection.recv(1_000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", ["/loop/read", "/app"])
@pytest.mark.parametrize(
    ("length", "part"),
    [("Transfer-Encoding: chunked", b"4\r\nhalf\r\n"), ("Content-Length: 20000", b"half")],
)
def test_a_body_whose_connection_is_lost_is_never_taken_for_a_whole_one(
    running: Running, app: App, path: str, length: str, part: bytes
) -> None:
    connection = running.begin(path, length, part)
    connection.shutdown(socket.SHUT_WR)
    status, _, _ = answer_on(connection)
    assert status == (400 if path == "/loop/read" else 200)
    if path == "/app":
        assert str(app.bodies[path]).startswith(("The body is cut off", "The body has 4 bytes"))


def test_a_stream_is_closed_when_its_client_goes_away(running: Running, loop: Loop) -> None:
    connection = running.connect(b"GET /loop/stream HTTP/1.1\r\nHost: h\r\n\r\n")
    eventually(lambda: b"frame" in connection.recv(1_000, socket.MSG_PEEK))
    assert loop.ends == []
    connection.close()
    eventually(lambda: loop.ends == ["closed"], 5)


def test_what_is_waited_for_is_given_up_when_its_client_goes_away(
    running: Running, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    connection = running.connect(b"GET /loop/held HTTP/1.1\r\nHost: h\r\n\r\n")
    staying = running.connect(b"GET /loop/held HTTP/1.1\r\nHost: h\r\n\r\n")
    eventually(lambda: len(loop.environs) == 2)
    connection.close()
    eventually(lambda: loop.ends == ["given up"], 5)
    assert not select.select([staying], [], [], 1.5)[0], "the other one waits on"
    assert loop.ends == ["given up"]
    staying.close()
    eventually(lambda: loop.ends == ["given up"] * 2, 5)
    assert (running.refused, caplog.records) == ([], [])


def test_more_requests_than_may_wait_for_a_thread_are_told_to_come_back(running: Running, app: App) -> None:
    assert running.refused == []
    held = [running.connect(b"GET /held HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n") for _ in range(4 + 2)]
    read: list[tuple[int, str, bytes]] = []

    def is_refused() -> bool:
        read.append(running.ask("/loop/x"))  # the loop answers meanwhile
        assert read[-1][0] == 200
        more = running.connect(b"GET /refused HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Request-ID: r\r\n\r\n")
        more.settimeout(3)
        try:
            read.append(answer_on(more))
        except TimeoutError:
            return False  # not all of them have arrived
        return True

    eventually(is_refused)
    status, head, body = read[-1]
    assert (status, json.loads(body)["code"]) == (503, "server_busy")
    assert "retry-after: 2\r\n" in head
    assert "x-request-id: r\r\n" in head
    eventually(lambda: ("r", 503) in running.refused)
    app.may_answer.set()
    assert [answer_on(each)[0] for each in held] == [200] * len(held)
    assert running.ask("/app")[0] == 200


def test_a_long_head_is_read_and_one_over_the_limit_refused(running: Running, app: App) -> None:
    assert running.ask("/app", headers=f"X-Long: {'.' * 60_000}\r\n")[0] == 200
    assert len(app.environs["/app"]["HTTP_X_LONG"]) == 60_000
    # Granian reads a little more before it looks, and doesn't read the rest.
    refused = running.connect(b"GET /never HTTP/1.1\r\nX-Long: " + b"." * 150_000)
    assert refused.recv(1_000).startswith(b"HTTP/1.1 431")
    assert "/never" not in app.environs


def test_bodies_that_come_slowly_hold_a_bounded_part_of_the_memory(app: App, loop: Loop) -> None:
    running = Running(app, loop, most_held_bytes=100_000, silence_s=20)
    try:
        both = [running.begin("/loop/read", "Content-Length: 90001", b"." * 90_000) for _ in range(2)]
        [refused], _, _ = select.select(both, [], [], 30)
        [first] = set(both) - {refused}
        status, _, body = answer_on(refused)
        assert (status, json.loads(body)["code"]) == (503, "server_busy")
        small = running.begin("/loop/read", "Content-Length: 15000", b"." * 15_000)
        assert small.recv(100).startswith(b"HTTP/1.1 200"), "small ones are taken"
        first.sendall(b".")
        assert first.recv(100).startswith(b"HTTP/1.1 200")
        again = running.begin("/loop/read", "Content-Length: 60000", b"." * 60_000)
        assert again.recv(100).startswith(b"HTTP/1.1 200"), "there is room again"
    finally:
        running.stop()


def test_idle_connections_and_slow_heads_are_closed(app: App) -> None:
    running = Running(app, nothing_itself, idle_ms=700)
    try:
        idle, trickling = running.connect(), running.connect(b"GET / HTTP/1.1\r\nX-Long: ")
        used = running.connect(b"GET /app HTTP/1.1\r\nHost: h\r\n\r\n")
        assert used.recv(1_000).startswith(b"HTTP/1.1 200")

        def is_closed() -> bool:
            try:
                trickling.send(b".")
            except ConnectionError:
                return True
            return False

        eventually(is_closed, 10)
        assert (idle.recv(100), used.recv(100)) == (b"", b"")
    finally:
        running.stop()


def test_it_answers_what_is_under_way_and_takes_nothing_new_once_it_is_stopped(
    running: Running, app: App, loop: Loop
) -> None:
    held = running.connect(b"GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
    streaming = running.connect(b"GET /loop/stream HTTP/1.1\r\nHost: h\r\n\r\n")
    eventually(lambda: "/held" in app.environs and b"frame" in streaming.recv(1_000, socket.MSG_PEEK))
    running.server.stop()
    assert answer_on(streaming)[2].endswith(b"0\r\n\r\n")
    assert loop.ends == ["closed"]
    eventually(lambda: refuses_connections(running.port))
    assert not running.ended(0.2)
    app.may_answer.set()
    assert answer_on(held)[2] == b"onetwo"
    assert running.ended(30)
