"""Calls a WSGI app (PEP 3333) in a bounded number of threads, for requests that came to the event loop."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any

from api.errors import ServerBusy
from api.http.server import answers
from api.http.server.body import Body, Incoming
from api.http.server.environ import Environ

WSGIApp = Callable[..., Iterable[bytes]]
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
_Headers = list[tuple[str, str]]

#: A body of at most so many bytes is read before the request takes a thread.
_READ_AHEAD_BYTES = 16 * 1024
_BUFFER_BYTES = 64 * 1024


class WsgiThreads:
    """The threads of one app. At most `waiting` requests wait for one; more are refused."""

    def __init__(self, app: WSGIApp, threads: int, waiting: int) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="wsgi")
        self._most = threads + waiting
        self._taken = 0

    async def answer(self, environ: Environ, body: Body) -> None:
        """Answer one request, and send it. Raises ServerBusy, RequestMalformed."""
        small = body.length is not None and body.length <= _READ_AHEAD_BYTES
        # Who expects to be told whether to send the body is told so when it is read.
        ahead = io.BytesIO(await body.read(_READ_AHEAD_BYTES)) if small and "HTTP_EXPECT" not in environ else None
        if self._taken >= self._most:
            raise ServerBusy
        loop = asyncio.get_running_loop()
        environ["wsgi.input"] = ahead or io.BufferedReader(Incoming(body, loop), _BUFFER_BYTES)
        done = loop.create_future()
        self._pool.submit(self._run, _Call(self._app, environ, body.proto, loop), done)
        self._taken += 1
        await done

    def close(self) -> None:
        """Start no more of them, and wait for none."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, call: _Call, done: asyncio.Future[None]) -> None:
        try:
            call.run()
        finally:
            with suppress(RuntimeError):  # the loop was given up
                call.loop.call_soon_threadsafe(self._end, done)

    def _end(self, done: asyncio.Future[None]) -> None:
        self._taken -= 1
        if not done.done():  # its task was cancelled
            done.set_result(None)


class _Call:
    """One call of the app, in a thread."""

    def __init__(self, app: WSGIApp, environ: Environ, proto: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._app = app
        self._environ = environ
        self._proto = proto
        self._status = 0
        self._headers: _Headers = []
        self._parts: list[bytes] = []
        #: Where parts go once the first of them had to be sent without the others.
        self._transport: Any = None
        self._is_sent = False
        #: The app has returned all parts.
        self._is_whole = False

    def run(self) -> None:
        """Call the app and send its answer, whatever happens."""
        try:
            parts = self._app(self._environ, self._start)
            self._is_whole = isinstance(parts, (list, tuple))
            try:
                for each in parts:
                    self._write(each)
            finally:
                close = getattr(parts, "close", None)
                if close is not None:
                    close()
            self._finish()
        except answers.ClientGone:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            self._fail(error)
        finally:
            self._proto = self._transport = None

    def _start(self, status: str, headers: _Headers, exc_info: _ExcInfo | None = None) -> Callable[[bytes], None]:
        if exc_info is not None:
            if self._transport is not None:
                raise exc_info[1]
            self._parts.clear()
        elif self._status:
            raise AssertionError("start_response was called before")
        self._status, self._headers = int(status[:3]), headers
        return self._write

    def _write(self, part: bytes) -> None:
        if not self._status:
            raise AssertionError("start_response was not called")
        if not part:
            return
        if self._transport is None and not self._may_collect():
            self._transport = self._proto.response_stream(self._status, self._headers)
            self._is_sent = True
        if self._transport is None:
            self._parts.append(part)
        else:
            asyncio.run_coroutine_threadsafe(answers.send(self._transport, part), self.loop).result()

    def _may_collect(self) -> bool:
        """Tell whether it is sent in one piece: all of it is there, it has a length, or no body."""
        return (
            self._is_whole or self._has_no_body() or any(name.lower() == "content-length" for name, _ in self._headers)
        )

    def _has_no_body(self) -> bool:
        return answers.has_no_body(self._environ["REQUEST_METHOD"], self._status)

    def _finish(self) -> None:
        if not self._status:
            raise AssertionError("start_response was not called")
        if self._transport is not None:
            self._transport = None  # its end is the answer's
            return
        self._is_sent = True
        if self._has_no_body():
            self._proto.response_empty(self._status, self._headers)
        else:
            content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._proto.response_bytes(self._status, answers.with_length(self._headers, len(content)), content)

    def _fail(self, error: Exception) -> None:
        answer = answers.refusal(self._environ, error)
        self._transport = None
        if not self._is_sent:
            answers.send_plain(self._proto, self._environ["REQUEST_METHOD"], answer)
