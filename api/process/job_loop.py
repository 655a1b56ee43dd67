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
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar

from workers.jobs.on_loop.desk import Desk
from workers.measures import paces
from workers.platform import blocking

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")
#: For what may block: the registry, messages for RabbitMQ, long inputs.
_THREADS = 32


class JobLoop:
    """An event loop with its desk; `attach` or `run` begins it, and it lives as long as the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._desk: Desk | None = None
        self._reading_paces: asyncio.Task[Any] | None = None

    @property
    def desk(self) -> Desk:
        """What is done with jobs; for callers on the loop."""
        assert self._desk is not None  # noqa: S101 - narrows the type
        return self._desk

    def attach(self) -> None:
        """Make the running event loop the one of this process; its thread must not block from now on."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(_THREADS, "queuecast-blocking"))
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
        """Call a function that may block."""
        return await asyncio.to_thread(function, *args, **named)

    async def quickly(
        self, function: Callable[_Arguments, _Result], *args: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        """Call a function here, and in another thread only if it would block; it must have no effects before."""
        try:
            return function(*args, **named)
        except blocking.WouldBlock:
            return await asyncio.to_thread(function, *args, **named)

    async def fresh_paces(self, endpoint_name: str) -> bool:
        """Read the reports of workers again if they are too old to tell the pace of an endpoint; return whether."""
        is_due = paces.default_paces().is_due(endpoint_name)
        if is_due:
            if self._reading_paces is None or self._reading_paces.done():
                reading = asyncio.to_thread(paces.default_paces().of, endpoint_name)
                self._reading_paces = asyncio.get_running_loop().create_task(reading)
            await asyncio.shield(self._reading_paces)
        return is_due

    def _begun(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    self._begin_thread()
        assert self._loop is not None  # noqa: S101 - narrows the type
        return self._loop

    def _begin_thread(self) -> None:
        is_running = threading.Event()

        async def live() -> None:
            self.attach()
            is_running.set()
            await asyncio.Event().wait()

        threading.Thread(target=lambda: asyncio.run(live()), name="queuecast-jobs", daemon=True).start()
        is_running.wait()


@lru_cache(maxsize=1)
def default_job_loop() -> JobLoop:
    """Return this process's."""
    return JobLoop()
