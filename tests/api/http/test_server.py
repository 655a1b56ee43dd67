"""Granian's private names: what the API's listener needs of the release that is installed."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import granian._granian
import httpx
import pytest
from granian._futures import _new_cbscheduler
from granian.server.mp import MPServer
from granian.wsgi import _callback_wrapper

from api.errors import RequestMalformed
from api.http.server.granian import HttpServer
from api.http.server.stalled import hurry
from tests.support.ports import free_port, refuses_connections
from tests.support.waiting import eventually


def test_granians_worker_is_made_and_run_as_the_listener_does_it() -> None:
    """Fails when a new release of Granian moves what the listener uses: read its `_spawn_wsgi_worker` then."""
    source = inspect.getsource(MPServer._spawn_wsgi_worker)
    for line in (
        "_wsgi_call_wrap(callback, scope_opts, log_access_fmt)",
        "shutdown_event.add_cb(shutdown_glue)",
        "scheduler = _new_cbscheduler(loop, wcallback, impl_asyncio=task_impl == TaskImpl.asyncio)",
        "serve(scheduler, loop, shutdown_event)",
    ):
        assert line in source
    made = source[source.index("WSGIWorker(") : source.index("serve = getattr")]
    assert [each.strip(" ,\n") for each in made.split("(", 1)[1].rsplit(")", 1)[0].split(",\n")] == [
        "worker_id", "sock", "ipc", "runtime_threads", "runtime_blocking_threads", "blocking_threads",
        "blocking_threads_idle_timeout", "backpressure", "http_mode", "http1_settings", "http2_settings",
        "static_path", "*ssl_ctx", "metrics", "",
    ]  # fmt: skip
    assert list(inspect.signature(_callback_wrapper).parameters) == ["callback", "scope_opts", "access_log_fmt"]
    assert list(inspect.signature(_new_cbscheduler).parameters) == ["loop", "cb", "impl_asyncio"]
    assert {"ListenerSpec", "WorkerSignal", "WSGIWorker"} <= set(dir(granian._granian))


def test_it_answers_what_is_under_way_and_takes_nothing_new_once_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It has a task that is none: among those of this process it would fail every later `asyncio.all_tasks()`.
    monkeypatch.setattr("granian._futures._aio_taskreg", lambda task: None)
    begun, may_end = threading.Event(), threading.Event()

    def app(_environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        begun.set()
        assert may_end.wait(30)
        start("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    listener = HttpServer(app, threads=2, connections=10, backlog=16, idle_ms=10_000, silence_s=60)
    port = free_port()
    listener.start("127.0.0.1", port)
    answers: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(transport=httpx.HTTPTransport(retries=8), timeout=30) as client:
            answers.append(client.get(f"http://127.0.0.1:{port}/"))

    caller = threading.Thread(target=ask)
    caller.start()
    assert begun.wait(30)
    listener.stop()
    assert not listener.wait(0.2)
    may_end.set()
    assert listener.wait(30)
    caller.join(30)
    assert [each.text for each in answers] == ["ok"]
    eventually(lambda: refuses_connections(port))
    asyncio.run(asyncio.sleep(0))  # nothing is left in this process at which that fails


@pytest.mark.slow
def test_clients_that_stop_in_the_middle_of_a_body_keep_no_thread() -> None:
    bodies: list[bytes] = []

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        bodies.append(environ["wsgi.input"].read())
        start("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    listener = HttpServer(app, threads=2, connections=10, backlog=16, idle_ms=10_000, silence_s=2)
    port = free_port()
    listener.start("127.0.0.1", port)
    head = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5000\r\n\r\n"
    with ExitStack() as stack:

        def connection() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))

        eventually(lambda: not refuses_connections(port))
        slow, stalled = connection(), connection()
        slow.sendall(head)
        stalled.sendall(head + b"half")
        waiting, began = connection(), time.monotonic()
        ended, sent, asked = 0, 0, False

        def stalled_is_ended() -> bool:
            nonlocal asked, ended, sent
            slow.sendall(b".")
            sent += 1
            # Much later than the stalled one, so that it has not been silent for as long: who is silent goes too.
            if not asked and time.monotonic() - began > 1.5:
                asked = True
                waiting.sendall(head + b"w" * 5_000)
            ended += listener.give_up_stalled()
            return ended > 0

        eventually(stalled_is_ended, 30)
        assert stalled.recv(100) == b""
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")
        slow.sendall(b"s" * (5_000 - sent))
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
    assert any(each.endswith(b"s") for each in bodies)
    listener.stop()
    assert listener.wait(30)


Begin = Callable[..., socket.socket]


class Reader:
    """An app that reads bodies as the path says, and remembers how each ended."""

    def __init__(self) -> None:
        self.ends: dict[str, bytes | str] = {}
        self.may_answer = threading.Event()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        path = environ["PATH_INFO"]
        hurried = path.startswith("/hurried")
        if hurried:
            hurry(environ, 0.5)
        try:
            self.ends[path] = environ["wsgi.input"].read(-1 if hurried else 5_000)
        except RequestMalformed as error:
            self.ends[path] = str(error)
        if path == "/held":
            assert self.may_answer.wait(30)
        start("200 OK", [("Content-Length", "2")])
        return [b"ok"]


@pytest.fixture
def reader() -> Iterator[tuple[Reader, HttpServer, Begin]]:
    """A server that gives bodies up after 2 s of silence; what is sent to it begins a request with 5,000 bytes."""
    app, port = Reader(), free_port()
    listener = HttpServer(app, threads=6, connections=10, backlog=16, idle_ms=60_000, silence_s=2)
    listener.start("127.0.0.1", port)
    eventually(lambda: not refuses_connections(port))
    with ExitStack() as stack:

        def begin(path: str, length: str = "Content-Length: 5000", part: bytes = b"") -> socket.socket:
            found = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            found.sendall(f"POST {path} HTTP/1.1\r\nHost: here\r\n{length}\r\n\r\n".encode() + part)
            return found

        yield app, listener, begin
        app.may_answer.set()
    listener.stop()
    assert listener.wait(30)


@pytest.mark.slow
def test_a_stalled_body_ends_its_own_connection_alone(
    reader: tuple[Reader, HttpServer, Begin],
) -> None:
    app, listener, begin = reader
    idle, held = begin("/idle"), begin("/held")
    for each in (idle, held):
        each.sendall(b"." * 5_000)
    assert idle.recv(100).startswith(b"HTTP/1.1 200")
    eventually(lambda: "/held" in app.ends)
    time.sleep(0.5)  # between what came of it and of the next one
    # At once: of several silent connections, the one is ended whose last data came nearest to the start of the wait.
    stalled = begin("/stalled", "Transfer-Encoding: chunked", b"4\r\nhalf\r\n")
    ended: list[int] = []

    def is_ended() -> bool:
        ended.append(listener.give_up_stalled())
        return sum(ended) > 0

    eventually(is_ended, 30)
    assert sum(ended) == 1
    assert stalled.recv(100) == b""
    eventually(lambda: "/stalled" in app.ends)
    assert "stopped coming" in str(app.ends["/stalled"]), "it isn't taken for a whole one"
    # The others were silent for longer.
    assert listener.give_up_stalled() == 0
    app.may_answer.set()
    assert held.recv(100).startswith(b"HTTP/1.1 200")
    idle.sendall(b"GET /again HTTP/1.1\r\nHost: here\r\n\r\n")
    assert idle.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.slow
def test_a_hurried_body_ends_in_time_although_it_comes(
    reader: tuple[Reader, HttpServer, Begin],
) -> None:
    app, _, begin = reader
    trickling, quick = begin("/hurried/trickling"), begin("/hurried/quick")
    quick.sendall(b"." * 5_000)
    assert quick.recv(100).startswith(b"HTTP/1.1 200")
    assert app.ends["/hurried/quick"] == b"." * 5_000

    def is_ended() -> bool:
        trickling.sendall(b".")
        return "/hurried/trickling" in app.ends

    eventually(is_ended, 30)
    assert "too slowly" in str(app.ends["/hurried/trickling"])
