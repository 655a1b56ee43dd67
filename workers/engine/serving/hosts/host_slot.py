"""One model host of a version: kept up, fed with batches, and replaced until its slot is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from registry.deployments import DesiredDeployment
from registry.errors import RegistryError
from workers.engine.batching.batcher import Batcher
from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving.hosts.host_feed import HostFeed, HostStopLimit, memory_limit_bytes
from workers.engine.serving.hosts.host_start import HostStart
from workers.engine.serving.hosts.pace import PaceMeter
from workers.engine.serving.trials.copies import Copies
from workers.engine.serving.trials.trial import Side
from workers.errors import HostStartFailed
from workers.hosts import processes
from workers.hosts.worker_side.host import RemoteHost
from workers.platform import logs

_log = logging.getLogger(__name__)

#: The pause before another start of a host that failed to load or died early; doubled each time.
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0


class HostSlot:
    """Keeps one host up until the slot is stopped."""

    def __init__(  # noqa: PLR0913, PLR0917 - constructed in one place
        self,
        context: Context,
        batcher: Batcher,
        deployment: Callable[[], DesiredDeployment],
        serving: asyncio.Event,
        pace: PaceMeter,
        stop_limit: HostStopLimit,
        on_change: Callable[[], None],
        proves_time_limit: bool = False,
        side: Callable[[], Side | None] = lambda: None,
        copies: Copies | None = None,
        is_nice: Callable[[], bool] = lambda: False,
    ) -> None:
        self.host: RemoteHost | None = None
        self.error: str | None = None
        #: Whether that is the error of a start. Else a host was lost that had its model.
        self.failed_to_start = False
        self._context = context
        self._batcher = batcher
        self._deployment = deployment
        self._serving = serving
        self._pace = pace
        self._on_change = on_change
        self._pause_s = _FIRST_PAUSE_S
        self._afresh = asyncio.Event()
        self._stopping = asyncio.Event()
        self._feed = HostFeed(context, batcher, deployment, pace, stop_limit, self._stopping, side)
        self._copies = Copies(context) if copies is None else copies
        self._is_nice = is_nice
        # With a lower limit, hosts have to prove it as long as none of the pool serves.
        proves = lambda: proves_time_limit and not serving.is_set()  # noqa: E731 - said in place
        self._start = HostStart(context, deployment, proves, on_change)
        self._task = asyncio.get_running_loop().create_task(self._run_hosts())

    @property
    def running_jobs(self) -> list[QueuedJob]:
        """The jobs that the host has or gets next."""
        return self._feed.running_jobs

    @property
    def building(self) -> str | None:
        """The step of building the environment; None unless it is being built."""
        return self._start.building

    @property
    def waits_for(self) -> str | None:
        """Why there is no room for a host now; None if it doesn't wait for any."""
        return self._start.waits_for

    async def stop(self) -> None:
        """Finish the running batch, then stop the host; return when it has exited."""
        self._stopping.set()
        if not self.running_jobs:  # else others don't count on its memory: the batch may take hours
            self._start.memory.ending()
        await asyncio.wait([self._task])

    def cancel(self, job: QueuedJob, *, at_once: bool) -> None:
        """End a cancelled job, if the host runs it; see `HostFeed.cancel`."""
        self._feed.cancel(job, at_once=at_once)

    def kill(self) -> None:
        """Kill the host; the worker still holds its jobs."""
        self._task.cancel()

    def start_afresh(self) -> None:
        """Forget the failures of the revision before, and start a missing host now."""
        self.error, self.failed_to_start = None, False
        self._pause_s = _FIRST_PAUSE_S
        self._afresh.set()

    async def _run_hosts(self) -> None:
        logs.begin(endpoint_name=self._deployment().endpoint_name)
        while not self._stopping.is_set():
            revision = self._deployment().revision
            try:
                host = await self._unless_stopped(self._start.host())
            except Exception as error:  # noqa: BLE001 - any error: without a retry this slot stays empty
                if self._deployment().revision == revision:  # or it failed with settings that are no longer desired
                    self.failed_to_start = True
                    self._record_failure(_reason(error))
                    await self._pause()
                continue
            if host is None:
                return
            try:
                lived_s = await self._use(host)
            except Exception as error:  # noqa: BLE001 - as above
                self._record_failure(_reason(error))
                await self._pause()
                continue
            self._pause_s = _FIRST_PAUSE_S if lived_s > self._pause_s else min(self._pause_s * 2, _LONGEST_PAUSE_S)

    async def _use(self, host: RemoteHost) -> float:
        """Give a host batches until it exits or the slot is stopped; return the duration (s)."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        name = self._deployment().endpoint_name
        _log.info("model host %d of %s is ready after %.0f ms", host.pid, name, host.load_ms or 0)
        self.host, self.error, self.failed_to_start = host, None, False
        self._pace.example(host.example_ms)
        if self._is_nice():
            host.set_nice(processes.NICE)
        self._on_change()
        try:
            await self._give_batches(host)
        finally:
            self.host = None
            if host.exited.done():
                self._record_failure(f"Model host {host.pid} of {name} is being replaced: {host.how_it_ended}")
                self._context.counters.host_lost(self._deployment())
            self._start.memory.ending()
            await asyncio.shield(host.stop())
        return loop.time() - began

    async def _give_batches(self, host: RemoteHost) -> None:
        stopping: asyncio.Task[Any] = asyncio.create_task(self._stopping.wait())
        ready: asyncio.Task[Any] = asyncio.create_task(self._serving.wait())
        copied: asyncio.Task[Any] = asyncio.create_task(self._copies.arrived.wait())
        try:
            while True:
                waited_for: list[asyncio.Future[Any]] = [stopping, ready, host.exited]
                takes_copies = self._serving.is_set() and not len(self._batcher)
                if takes_copies:
                    waited_for.append(copied)
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
                if self._stopping.is_set() or host.exited.done():
                    return
                if not ready.done():
                    await self._predict_copies(host, ready)
                elif batch := self._batcher.take() if self._serving.is_set() else []:
                    await self._feed.run(host, batch)
                if ready.done() or ready.cancelling():
                    ready = asyncio.create_task(self._batcher.ready())
                if copied.done():
                    copied = asyncio.create_task(self._copies.arrived.wait())
        finally:
            stopping.cancel()
            ready.cancel()
            copied.cancel()

    async def _predict_copies(self, host: RemoteHost, ready: asyncio.Task[Any]) -> None:
        """Predict copies of ended jobs, if no job waits; meanwhile the host is not idle."""
        if len(self._batcher):
            return
        # The next job of a host that answers callers must not wait for many of them.
        if copies := self._copies.take(self._batcher.size.rows if self._is_nice() else 1):
            ready.cancel()
            deployment, rows_at_once = self._deployment(), self._batcher.size.rows_at_once
            host.max_memory_bytes = memory_limit_bytes(deployment)
            await self._copies.predict(host, copies, deployment, rows_at_once)

    async def _unless_stopped(self, loading: Coroutine[Any, Any, RemoteHost]) -> RemoteHost | None:
        """Wait until a host is loaded, or until the slot is stopped."""
        work = asyncio.create_task(loading)
        stopping = asyncio.create_task(self._stopping.wait())
        either: list[asyncio.Future[Any]] = [work, stopping]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            return None
        finally:
            stopping.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait([work])

    async def _pause(self) -> None:
        """Wait until the slot is stopped or starts afresh, at most for a time that doubles with each pause."""
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, _LONGEST_PAUSE_S)
        self._afresh.clear()
        ends = [asyncio.create_task(each.wait()) for each in (self._stopping, self._afresh)]
        try:
            await asyncio.wait(ends, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ends:
                each.cancel()

    def _record_failure(self, reason: str) -> None:
        if not self._stopping.is_set():
            self.error = reason
            _log.error("%s", reason)
        self._on_change()


def _reason(error: Exception) -> str:
    if isinstance(error, (HostStartFailed, RegistryError)):
        return str(error)
    _log.error("unexpected error while running a model host", exc_info=error)
    return f"Unexpected error while running a model host: {type(error).__name__}. See the worker's log."
