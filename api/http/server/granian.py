"""Granian's HTTP server in this process.

Granian's own server keeps the listening process under another one, which holds everything that is loaded a
second time. What it does in that process is done here instead, with names that are private to Granian: here
alone, and a test holds them against the release that is installed.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

from granian._futures import _new_cbscheduler
from granian._granian import ListenerSpec, WorkerSignal, WSGIWorker
from granian.http import HTTP1Settings
from granian.wsgi import _callback_wrapper

from api.http.server.stalled import Bodies

_WORKER_ID = 1
#: Threads of Rust: one writes to all clients.
_IO_THREADS = 1
_IO_BLOCKING_THREADS = 512
#: A thread that has had no request for this long ends.
_IDLE_THREAD_S = 30
_NO_TLS: tuple[object, ...] = (False, None, None, None, "tls1.3", None, [], False)
_NO_METRICS = (None, None)
#: Their declared types are not those of this release.
_worker: Any = WSGIWorker
_scheduler: Any = _new_cbscheduler
#: Each has an event loop that lives as long as this process.
_kept: list[Any] = []


class HttpServer:
    """Answers HTTP/1.1 requests with a WSGI app from `start` on.

    Args:
        app: called in one of `threads` threads for each request.
        threads: how many requests are answered at once.
        connections: how many are open at once; more wait to be accepted.
        backlog: how many of those the system keeps.
        idle_ms: how long a connection may be open without a request.
        silence_s: how long nothing may come of a body; longer than any answer is waited for.
    """

    def __init__(  # noqa: PLR0913 - each by name
        self,
        app: Callable[..., Any],
        *,
        threads: int,
        connections: int,
        backlog: int,
        idle_ms: int,
        silence_s: float,
    ) -> None:
        self._bodies = Bodies(silence_s)
        self._app = _callback_wrapper(self._bodies.watched(app), {"url_path_prefix": None}, None)
        self._port = 0
        self._threads = threads
        self._connections = connections
        self._backlog = backlog
        self._http = HTTP1Settings(header_read_timeout=idle_ms)
        self._stopping = WorkerSignal()
        self._stopped = threading.Event()

    def start(self, host: str, port: int) -> None:
        """Listen; the work is done in other threads."""
        self._port = port
        address = ListenerSpec(host, port, self._backlog)
        # As Granian has it: on Linux the worker makes the socket.
        sockets = (address, None) if sys.platform == "linux" else (None, address.build())
        worker: Any = _worker(
            _WORKER_ID,
            sockets,
            None,
            _IO_THREADS,
            _IO_BLOCKING_THREADS,
            self._threads,
            _IDLE_THREAD_S,
            self._connections,
            "1",
            self._http,
            None,
            None,
            *_NO_TLS,
            _NO_METRICS,
        )
        self._stopping.add_cb(self._stopped.set)
        loop = asyncio.new_event_loop()
        # As Granian's default is: its other kind leaves a task at which every later `asyncio.run` fails.
        scheduler = _scheduler(loop, self._app, impl_asyncio=True)
        _kept.append(scheduler)
        worker.serve_mtr(scheduler, loop, self._stopping)

    def give_up_stalled(self) -> int:
        """End connections whose clients have stopped in the middle of a body; return how many."""
        return self._bodies.give_up_stalled(self._port)

    def stop(self) -> None:
        """Take no new connections, and answer what is under way; safe in a signal handler."""
        self._stopping.set()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until everything is answered after `stop`; tell whether it is."""
        return self._stopped.wait(timeout_s)
