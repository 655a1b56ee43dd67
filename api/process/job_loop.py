"""The event loop on which this process submits, reads and awaits jobs.

The server's own loop does it if there is one. Under another WSGI server, and for what is not a hot operation, threads
hand their work to it; a process without a loop starts one in a thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import lru_cache, partial
from typing import Any, Generic, ParamSpec, TypeVar, cast

from api.errors import ServerBusy
from workers.jobs.on_loop.desk import Desk
from workers.platform.loops import blocking, event_loops
from workers.settings import load

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")
#: Threads for looks at the registry and at keys, and for calls with much work. Each kind can't hold up the other one.
_CHECKS, _WORK = 16, 16
#: How many wait for a thread, for each thread; more are refused.
_WAITING_PER_THREAD = 64


class _Call(Generic[_Result]):
    """A function in a queue for a thread. Once its caller has gone, it isn't called, and holds nothing any more."""

    def __init__(self, function: Callable[[], _Result]) -> None:
        self._function: Callable[[], _Result] | None = function

    def __call__(self) -> _Result | None:
        function = self._function
        return None if function is None else function()

    def give_up(self) -> None:
        self._function = None


class _Threads:
    """Threads that an event loop calls functions in."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, name)
        self._most = count * (1 + _WAITING_PER_THREAD)
        self._taken = 0

    async def run(
        self, function: Callable[_Arguments, _Result], *args: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        if self._taken >= self._most:
            raise ServerBusy
        self._taken += 1
        call = _Call(partial(copy_context().run, function, *args, **named))
        work = asyncio.get_running_loop().run_in_executor(self._pool, call)
        # Not before: whose client has gone keeps its thread, or its place in the pool's queue.
        work.add_done_callback(self._ended)
        try:
            return cast("_Result", await asyncio.shield(work))
        except asyncio.CancelledError:
            call.give_up()
            raise

    def _ended(self, _: object) -> None:
        self._taken -= 1


class JobLoop:
    """An event loop with its desk; `attach` or `run` begins it, and it lives as long as the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._desk: Desk | None = None
        self._checks = _Threads(_CHECKS, "queuecast-checks")
        self._work = _Threads(_WORK, "queuecast-work")

    @property
    def desk(self) -> Desk:
        """What is done with jobs; for callers on the loop."""
        assert self._desk is not None  # noqa: S101 - narrows the type
        return self._desk

    def attach(self) -> None:
        """Make the running event loop the one of this process; its thread must not block from now on."""
        self._loop = asyncio.get_running_loop()
        self._desk = Desk()
        blocking.forbid()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine on the loop for another thread, and return its result or raise its error."""
        # What is bound to the request in this thread is bound to the work too: its trace, and its log lines.
        context = copy_context()

        async def in_context() -> _Result:
            return await asyncio.get_running_loop().create_task(work, context=context)

        return asyncio.run_coroutine_threadsafe(in_context(), self._begun()).result()

    def release(self) -> None:
        """End every wait, now and from now on; safe in a signal handler."""
        if self._loop is not None and self._desk is not None:
            self._loop.call_soon_threadsafe(self._desk.waits.release)

    async def in_thread(
        self, function: Callable[_Arguments, _Result], *args: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        """Call a function that takes long, or may block. Raises ServerBusy if too many of them wait for a thread."""
        return await self._work.run(function, *args, **named)

    async def here_or_in_thread(
        self, function: Callable[_Arguments, _Result], *args: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        """Call a function here, and in another thread only if it would block; it must have no effects before.

        Raises:
            ServerBusy: too many wait for a thread.
        """
        try:
            return function(*args, **named)
        except blocking.WouldBlock:
            return await self._checks.run(function, *args, **named)

    def _begun(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    self._begin_thread()
        assert self._loop is not None  # noqa: S101 - narrows the type
        return self._loop

    def _begin_thread(self) -> None:
        is_running = threading.Event()
        factory = event_loops.factory(load().event_loop)

        async def live() -> None:
            self.attach()
            is_running.set()
            await asyncio.Event().wait()

        def run() -> None:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(live())

        threading.Thread(target=run, name="queuecast-jobs", daemon=True).start()
        is_running.wait()


@lru_cache(maxsize=1)
def default_job_loop() -> JobLoop:
    """Return this process's."""
    return JobLoop()
