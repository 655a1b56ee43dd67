"""One place for a model host: starting it, giving it batches, replacing it when it dies."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from registry.deployments import DesiredDeployment
from registry.errors import RegistryError
from workers import logs
from workers.engine.batching import Batcher
from workers.engine.context import Context
from workers.engine.execution import BatchRun
from workers.engine.messages import QueuedJob
from workers.engine.pace import PaceMeter
from workers.errors import HostStartFailed
from workers.hosts.remote import LoadRequest, RemoteHost

_log = logging.getLogger(__name__)

#: A host that could not be loaded, or that died young, is started again after this long; doubled each time.
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 300.0
#: After this long without a batch, on top of the longest time that one gathers, a host was idle.
_BETWEEN_BATCHES_S = 0.02


class HostSlot:
    """Keeps one host up until it is stopped."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self,
        context: Context,
        batcher: Batcher,
        deployment: Callable[[], DesiredDeployment],
        serving: asyncio.Event,
        pace: PaceMeter,
        on_change: Callable[[], None],
    ) -> None:
        self.host: RemoteHost | None = None
        self.error: str | None = None
        self._batch: BatchRun | None = None
        self._context = context
        self._batcher = batcher
        self._deployment = deployment
        self._serving = serving
        self._pace = pace
        #: When the last batch ended, if jobs waited then (loop time).
        self._due_at: float | None = None
        self._on_change = on_change
        self._stopping = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._keep_up())

    @property
    def running_jobs(self) -> list[QueuedJob]:
        """The jobs that the host has right now."""
        return self._batch.jobs if self._batch else []

    async def stop(self) -> None:
        """Finish the running batch, then end the host; returns when it has ended."""
        self._stopping.set()
        await asyncio.wait([self._task])

    def cancel(self, job: QueuedJob) -> None:
        """Stop the host if it runs this job; the batch's other jobs run again."""
        if self._batch is not None and job in self._batch.jobs:
            self._batch.cancel(job)

    def kill(self) -> None:
        """End the host now; the jobs that it has are still held by the worker."""
        self._task.cancel()

    async def _keep_up(self) -> None:
        logs.begin(endpoint_name=self._deployment().endpoint_name)
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                host = await self._unless_stopped(self._loaded_host())
            except (HostStartFailed, RegistryError) as error:
                self._failed(str(error))
                await self._pause(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            if host is None:
                return
            lived_s = await self._use(host)
            pause_s = _FIRST_PAUSE_S if lived_s > pause_s else min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _use(self, host: RemoteHost) -> float:
        """Give a host batches until it dies or the slot is stopped; return how long that was, in seconds."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        name = self._deployment().endpoint_name
        _log.info("model host %d of %s is ready after %.0f ms", host.pid, name, host.load_ms or 0)
        self.host, self.error = host, None
        self._pace.example(host.example_ms)
        self._on_change()
        try:
            await self._give_batches(host)
        finally:
            self.host = None
            if host.exited.done():
                self._failed(f"Model host {host.pid} of {name} is being replaced: {host.how_it_ended}")
                self._context.measures.host_lost(self._deployment())
            await asyncio.shield(host.stop())
        return loop.time() - began

    async def _loaded_host(self) -> RemoteHost:
        """Start a host and have it load the model; the artifact's checksum is verified each time."""
        wanted = self._deployment()
        path = await asyncio.to_thread(self._context.artifacts.fetch, wanted.artifact_sha256)
        request = LoadRequest(
            str(path),
            wanted.runtime,
            dict(wanted.runtime_options),
            wanted.signature.model_dump(mode="json"),
            wanted.input_example,
            wanted.endpoint_name,
            self._context.settings.log_format,
        )
        host = await self._context.launcher.spawn(_memory_limit_bytes(wanted))
        try:
            await host.load(request, self._context.settings.load_timeout_s)
        except BaseException:
            await asyncio.shield(host.stop())
            raise
        return host

    async def _give_batches(self, host: RemoteHost) -> None:
        stopping: asyncio.Task[Any] = asyncio.create_task(self._stopping.wait())
        ready: asyncio.Task[Any] = asyncio.create_task(self._serving.wait())
        waited_for: list[asyncio.Future[Any]] = [stopping, ready, host.exited]
        try:
            while True:
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
                if self._stopping.is_set() or host.exited.done():
                    return
                if batch := self._batcher.take() if self._serving.is_set() else []:
                    await self._run(host, BatchRun(self._context, self._deployment(), batch, self._batcher.size))
                ready = waited_for[1] = asyncio.create_task(self._batcher.ready())
        finally:
            stopping.cancel()
            ready.cancel()

    async def _run(self, host: RemoteHost, batch: BatchRun) -> None:
        self._context.intake.made_room(self._deployment().endpoint_name)
        host.max_memory_bytes = _memory_limit_bytes(self._deployment())
        self._batch = batch
        began = self._began()
        try:
            self._batcher.put(await batch.run(host))
            # How long it took to lose a host is no pace, and neither is a batch of jobs that nobody wanted any more.
            self._measured(batch.jobs if not host.exited.done() else [], began)
        except Exception:  # noqa: BLE001 - an error of the engine itself still ends its jobs
            _log.exception("a batch of %s could not be run", self._deployment().endpoint_name)
            batch.give_up()
        finally:
            self._batch = None

    def _began(self) -> float:
        """When the time of this batch began: with the end of the last one, unless the host was idle since."""
        now = time.monotonic()
        gap_s = self._deployment().settings.max_batch_delay_ms / 1000 + _BETWEEN_BATCHES_S
        return self._due_at if self._due_at is not None and now - self._due_at < gap_s else now

    def _measured(self, jobs: list[QueuedJob], began: float) -> None:
        now = time.monotonic()
        self._due_at = now if len(self._batcher) else None
        self._pace.ended(len(jobs), sum(len(job.rows) for job in jobs), now - began)
        if self._pace.has_changed():
            self._context.changed.set()

    async def _unless_stopped(self, loading: Coroutine[Any, Any, RemoteHost]) -> RemoteHost | None:
        """Wait for a host to be loaded, but not if the slot is stopped meanwhile."""
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

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _failed(self, reason: str) -> None:
        if not self._stopping.is_set():
            self.error = reason
            _log.error("%s", reason)
        self._on_change()


def _memory_limit_bytes(deployment: DesiredDeployment) -> int | None:
    limit_mb = deployment.settings.max_memory_mb
    return None if limit_mb is None else limit_mb * 1024 * 1024
