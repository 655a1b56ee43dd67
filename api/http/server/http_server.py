"""An HTTP/1.1 server on this process's event loop: Granian's embedded server, a handler, and a WSGI app behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server as Granian

from api.errors import AddressTaken
from api.http.exchange import Answer, Request
from api.http.server import answers
from api.http.server.body import Body, Patience, Reading
from api.http.server.departures import Departures, until_gone
from api.http.server.environ import Environ, environ_of
from api.http.server.wsgi import WSGIApp, WsgiThreads

#: Answers the requests that it knows on the event loop; None for all others.
Handler = Callable[[dict[str, Any], Body], Awaitable[Answer] | None]

#: A body that comes more slowly than this is given up.
_BYTES_PER_S = 1_024
#: Sixteen of the largest that the default settings take.
_MOST_HELD_BYTES = 256 * 1024 * 1024
#: About the most that a request's head may have; each connection may hold as much.
_HEAD_BYTES = 64 * 1024
#: Granian's errors go where ours go; without `incremental`, it would close the handlers of this process.
_LOGGING: dict[str, Any] = {"incremental": True, "handlers": {}, "loggers": {}}


def nothing_itself(_environ: dict[str, Any], _body: Body) -> None:
    """Leave every request to the WSGI app."""


class HttpServer:
    """Answers HTTP/1.1 requests from `serve` on until `stop`.

    Args:
        app: the WSGI app, called in one of `threads` threads for each request that `handler` doesn't take.
        handler: called on the event loop first.
        threads: how many requests the app answers at once.
        waiting: how many wait for a thread; others are answered 503.
        connections: how many are open at once; more wait to be accepted.
        backlog: how many of those the system keeps.
        idle_ms: how long a connection may be open without a request, and how long a request's head may take.
        silence_s: how long nothing may come of a body.
        bytes_per_s: how fast a body has to come on the average, apart from the first `silence_s`.
        most_held_bytes: how much memory bodies take until their requests are checked; more are answered 503.
        refused: told of each request that neither handler nor app has answered, with the status.
    """

    def __init__(  # noqa: PLR0913 - each by name
        self,
        app: WSGIApp,
        handler: Handler = nothing_itself,
        *,
        threads: int,
        waiting: int,
        connections: int,
        backlog: int,
        idle_ms: int,
        silence_s: float,
        bytes_per_s: float = _BYTES_PER_S,
        most_held_bytes: int = _MOST_HELD_BYTES,
        refused: Callable[[Request, int], None] = lambda *_: None,
    ) -> None:
        self._handler = handler
        self._refused = refused
        self._threads = WsgiThreads(app, threads, waiting)
        self._connections = connections
        self._backlog = backlog
        self._http = HTTP1Settings(header_read_timeout=idle_ms, max_buffer_size=_HEAD_BYTES)
        self._reading = Reading(Patience(silence_s, bytes_per_s), most_held_bytes)
        self._departures = Departures()
        self._streams: set[asyncio.Task[Any]] = set()
        self._granian: Granian | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, host: str, port: int, listening: Callable[[], None] = lambda: None) -> None:
        """Listen, and call `listening` then; return after `stop`, once everything is answered.

        Raises:
            AddressTaken: it can't listen there.
        """
        self._loop = asyncio.get_running_loop()
        target = _Target(self._answer, listening)
        self._granian = Granian(
            target, host, port, interface=Interfaces.RSGI, http=HTTPModes.http1, websockets=False,
            backlog=self._backlog, backpressure=self._connections, http1_settings=self._http,
            log_level=LogLevels.error, log_dictconfig=_LOGGING,
        )  # fmt: skip
        try:
            await self._granian.serve()
        finally:
            self._threads.close()
        if not target.has_listened:
            raise AddressTaken(f"The HTTP API can't listen on {host}:{port}.")

    def stop(self) -> None:
        """Take no new connections, end streams and answer what is under way; safe in signal handlers and threads."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        granian: Any = self._granian
        granian.stop()
        for each in self._streams:
            each.cancel()

    async def _answer(self, scope: Any, proto: Any) -> None:
        environ = environ_of(scope)
        body = Body(proto, environ, self._reading)
        try:
            answer = await self._answered(environ, body, proto)
        finally:
            body.close()
        if answer is None:
            return
        if answer.stream is None:
            answers.send_plain(proto, environ["REQUEST_METHOD"], answer)
        else:
            await self._send_stream(environ, answer, answer.stream, proto)

    async def _answered(self, environ: Environ, body: Body, proto: Any) -> Answer | None:
        """Return the answer that still has to be sent; None if the app has sent it, or the client has gone.

        An error must not outlive this method: its traceback would keep the connection open.
        """
        try:
            handled = self._handler(environ, body)
            if handled is None:
                await self._threads.answer(environ, body)
                return None
            return await self._unless_gone(handled, proto)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            answer = answers.refusal(environ, error)
            self._refused(answers.refused(environ), answer.status)
            return answer

    async def _unless_gone(self, handled: Awaitable[Answer], proto: Any) -> Answer | None:
        """Return the handler's answer; None if its client has gone while it was waited for."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - narrows the type
        self._departures.add(task, proto)
        try:
            answer = await handled
        except asyncio.CancelledError:
            if not self._departures.remove(task):
                raise
            return None
        except BaseException:
            self._departures.remove(task)
            raise
        return None if self._departures.remove(task) else answer

    async def _send_stream(self, environ: Environ, answer: Answer, stream: AsyncIterator[bytes], proto: Any) -> None:
        """Send a stream until its end, the client's or the process's; close it in each case."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - narrows the type

        def cancel(_: Any) -> None:
            task.cancel()

        gone = asyncio.ensure_future(until_gone(proto))
        gone.add_done_callback(cancel)
        self._streams.add(task)
        try:
            await _send_frames(environ, answer, stream, proto)
        except (asyncio.CancelledError, answers.ClientGone):
            pass  # the client has gone, or the process is ending
        except Exception as error:  # noqa: BLE001 - it can only be logged
            answers.refusal(environ, error)
        finally:
            self._streams.discard(task)
            gone.remove_done_callback(cancel)
            gone.cancel()


class _Target:
    """What Granian calls, by the names of its interface (RSGI)."""

    def __init__(self, answer: Callable[[Any, Any], Awaitable[None]], listening: Callable[[], None]) -> None:
        self.__rsgi__ = answer
        self.has_listened = False
        self._listening = listening

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # It listens before it gives the loop back.
        loop.call_soon(self._listens)

    def _listens(self) -> None:
        self.has_listened = True
        self._listening()


async def _send_frames(environ: Environ, answer: Answer, stream: AsyncIterator[bytes], proto: Any) -> None:
    try:
        if answers.has_no_body(environ["REQUEST_METHOD"], answer.status):
            answers.send_plain(proto, environ["REQUEST_METHOD"], answer)
            return
        transport = proto.response_stream(answer.status, list(answer.headers.items()))
        async for frame in stream:
            await answers.send(transport, frame)
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
