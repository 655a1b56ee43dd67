"""The model hosts of one version on one worker: starting, loading, feeding and replacing them.

A pool has as many slots as the deployment has hosts. A slot keeps one host up; the slots of a pool share a batcher.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any

from registry.deployments import DesiredDeployment, Intent
from registry.environments.cache import HeldEnvironment
from registry.errors import RegistryError
from registry.signatures.output_columns import OutputDescription
from workers.engine.batching.batch_size import BatchSize
from workers.engine.batching.batcher import Batcher
from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.engine.memory.budget import Claim
from workers.engine.serving.host_feed import HostFeed, HostStopLimit, memory_limit_bytes
from workers.engine.serving.host_memory import HostMemory
from workers.engine.serving.pace import PaceMeter
from workers.engine.serving.trials.copies import Copies
from workers.engine.serving.trials.trial import Side
from workers.errors import HostStartFailed
from workers.hosts import processes
from workers.hosts.worker_side.host import HostGone, LoadRequest, RemoteHost
from workers.measures.arms import Arm
from workers.measures.reports import HostsState, PaceReport, VersionReport
from workers.platform import logs

_log = logging.getLogger(__name__)

#: The niceness of hosts that predict copies alone.
NICE = 10

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
        #: The step of building the environment; None unless it is being built.
        self.building: str | None = None
        self._context = context
        self._batcher = batcher
        self._deployment = deployment
        self._serving = serving
        self._pace = pace
        self._on_change = on_change
        #: Whether a host has to predict the example within `timeout_s`, as long as none of the pool serves.
        self._proves_time_limit = proves_time_limit
        self._pause_s = _FIRST_PAUSE_S
        self._afresh = asyncio.Event()
        self._stopping = asyncio.Event()
        self._feed = HostFeed(context, batcher, deployment, pace, stop_limit, self._stopping, side)
        self._copies = Copies(context) if copies is None else copies
        self._is_nice = is_nice
        self.memory = HostMemory(context, on_change)
        self._task = asyncio.get_running_loop().create_task(self._run_hosts())

    @property
    def running_jobs(self) -> list[QueuedJob]:
        """The jobs that the host has or gets next."""
        return self._feed.running_jobs

    async def stop(self) -> None:
        """Finish the running batch, then stop the host; return when it has exited."""
        self._stopping.set()
        if not self.running_jobs:  # else others don't count on its memory: the batch may take hours
            self.memory.ending()
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
                host = await self._unless_stopped(self._start_host())
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
            host.set_nice(NICE)
        self._on_change()
        try:
            await self._give_batches(host)
        finally:
            self.host = None
            if host.exited.done():
                self._record_failure(f"Model host {host.pid} of {name} is being replaced: {host.how_it_ended}")
                self._context.counters.host_lost(self._deployment())
            self.memory.ending()
            await asyncio.shield(host.stop())
        return loop.time() - began

    async def _start_host(self) -> RemoteHost:
        """Start a host once there is memory for it, and load the model."""
        while True:
            wanted, claim = self._deployment(), None
            environment = await self._hold_environment(wanted)
            try:
                python = None if environment is None else environment.python
                self._context.launcher.warm_up(wanted.runtime, python)  # in parallel with fetching the artifact
                claim = await self.memory.claim(wanted)
                # Settings may have changed during the wait.
                host = await self._load_host(self._deployment(), claim, environment)
            except HostStartFailed:
                if claim is None or not claim.is_refused:
                    raise
                self.memory.refused(claim)
                continue
            finally:
                if claim is None or claim.pid is None:
                    self._release(claim, environment)
            if await self._fits(host, claim):
                return host

    def _release(self, claim: Claim | None, environment: HeldEnvironment | None) -> None:
        """Release what no host has taken over: garbage collection would release an environment late."""
        if claim is not None:
            self._context.memory.release(claim)
        if environment is not None:
            environment.release()

    async def _fits(self, host: RemoteHost, claim: Claim) -> bool:
        """Measure a loaded host, and stop it if there isn't enough memory, or if its slot is stopped meanwhile."""
        fits = False
        try:
            fits = await self.memory.fits(claim, host)
        finally:
            if not fits:
                await asyncio.shield(host.stop())
        return fits

    async def _load_host(
        self, wanted: DesiredDeployment, claim: Claim, environment: HeldEnvironment | None
    ) -> RemoteHost:
        """Start a host and load the model; the artifact's checksum is verified each time."""
        python = None if environment is None else environment.python
        artifact = await asyncio.to_thread(self._context.artifacts.hold, wanted.artifact_sha256)
        request = LoadRequest(
            str(artifact.path),
            wanted.runtime,
            dict(wanted.runtime_options),
            wanted.signature.model_dump(mode="json"),
            wanted.input_example,
            wanted.endpoint_name,
            self._context.settings.log_format,
            f"host {wanted.endpoint_name} v{wanted.version} ({self._context.worker_name})",
        )
        host = await self._context.launcher.spawn(wanted.runtime, memory_limit_bytes(wanted), python)
        self.memory.started(claim, host)
        if wanted.is_replay:
            processes.give_way(host.pid)
        # The host may read the files until it exits. If it doesn't start, garbage collection releases the artifact.
        host.exited.add_done_callback(lambda _: artifact.release())
        if environment is not None:
            host.exited.add_done_callback(lambda _: environment.release())
        try:
            await host.load(request, self._context.settings.load_timeout_s)
            if self._proves_time_limit and not self._serving.is_set():
                await _prove_time_limit(host, wanted)
        except BaseException:
            await asyncio.shield(host.stop())
            raise
        return host

    async def _hold_environment(self, wanted: DesiredDeployment) -> HeldEnvironment | None:
        """Return the version's environment, which may take minutes to build; None is the worker's own."""
        if wanted.environment_sha256 is None:
            return None

        def report(step: str) -> None:
            self.building = step
            self._on_change()

        try:
            return await self._context.environments.hold(wanted.environment_sha256, report)
        finally:
            self.building = None

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


async def _prove_time_limit(host: RemoteHost, wanted: DesiredDeployment) -> None:
    """Predict the input example once more. Raises HostStartFailed if that takes longer than `timeout_s`."""
    if wanted.input_example is None:
        return
    timeout_s = wanted.settings.timeout_s
    try:
        await host.predict([wanted.input_example], 1, timeout_s)
    except HostGone as error:
        usual = "" if host.example_ms is None else f" Without the limit it took {host.example_ms / 1000:.3g} s."
        reason = f"With timeout_s {timeout_s:g}, {error} It predicted the model's input example.{usual}"
        raise HostStartFailed(reason) from error


class HostPool:
    """The host slots of one version, as many as the deployment's settings require.

    Args:
        replaces: the pool that serves until this one is ready; None if none does.
    """

    def __init__(
        self,
        context: Context,
        desired: DesiredDeployment,
        batcher: Batcher,
        on_ready: Callable[[], None],
        replaces: HostPool | None = None,
    ) -> None:
        self.desired = desired
        self._proves_time_limit = replaces is not None and _lowers_time_limit(replaces.desired, desired)
        self._context = context
        self._batcher = batcher
        self._size = BatchSize(desired.settings)
        self._pace = PaceMeter(self._size)
        self._stop_limit = HostStopLimit()
        self._on_ready = on_ready
        #: Called at each change while no host has its model.
        self.on_lost: Callable[[], None] = lambda: None
        #: The arm of a trial that it serves; None without a trial.
        self.side: Side | None = None
        #: Copies of jobs that the other version of a trial has answered.
        self.copies = Copies(context)
        self._is_nice = False
        #: When it began to load (s, monotonic).
        self.began_at = time.monotonic()
        #: Between the bounds of the settings; see `scale`.
        self.wanted_hosts: int = desired.settings.first_hosts if replaces is None else replaces.wanted_hosts
        self._slots: list[HostSlot] = []
        #: Those that finish their last batch because fewer hosts are wanted.
        self._leaving: set[HostSlot] = set()
        self._serving = asyncio.Event()
        self._stopping = False
        self.apply(desired)

    @property
    def running_jobs(self) -> list[QueuedJob]:
        """The jobs of all current batches."""
        return [job for slot in self._all_slots for job in slot.running_jobs]

    @property
    def _all_slots(self) -> list[HostSlot]:
        return [*self._slots, *self._leaving]

    @property
    def ready_hosts(self) -> int:
        """The number of hosts whose model is loaded."""
        return sum(slot.host is not None for slot in self._slots)

    @property
    def busy_hosts(self) -> int:
        """The number of hosts that have jobs."""
        return sum(bool(slot.running_jobs) for slot in self._slots)

    @property
    def rows_ended(self) -> int:
        """The rows of all batches that have ended."""
        return self._pace.rows_ended

    @property
    def batches_ended(self) -> int:
        """The batches that have ended."""
        return self._pace.batches_ended

    @property
    def error(self) -> str | None:
        """The reason of a missing host."""
        return next((slot.error for slot in self._slots if slot.error), None)

    @property
    def state(self) -> HostsState:
        """The state of the hosts as a whole."""
        if self._stopping:
            return HostsState.STOPPING
        if self.ready_hosts:
            return HostsState.READY
        if self.error:  # also while it is tried again
            return HostsState.FAILED
        return HostsState.LOADING if self.building is None else HostsState.BUILDING

    @property
    def building(self) -> str | None:
        """The step of building the environment; None unless it is being built."""
        return next((slot.building for slot in self._slots if slot.building is not None), None)

    @property
    def waits_for(self) -> str | None:
        """Why no host can be started now; None if one has its model, loads it or has failed."""
        if self.ready_hosts:
            return None
        return next((slot.memory.waits_for for slot in self._slots if slot.memory.waits_for), None)

    @property
    def outputs(self) -> list[OutputDescription] | None:
        """The model's outputs, as determined from its input example; None if unknown."""
        return next((slot.host.outputs for slot in self._slots if slot.host is not None), None)

    def can_serve(self, desired: DesiredDeployment) -> bool:
        """Whether these hosts hold the deployment's version; most other settings can change while they run."""
        return can_serve(self.desired, desired)

    def can_apply(self, desired: DesiredDeployment) -> bool:
        """Whether it can serve the deployment with its settings: a lower limit takes hosts that have started with it.

        Under a limit that is too low, every host is lost with its batch. So new hosts prove it before these stop.
        """
        return can_take_over(self.desired, desired)

    def apply(self, desired: DesiredDeployment) -> None:
        """Apply settings, and start or stop hosts to match their number; a deploy starts missing hosts at once."""
        if desired.revision != self.desired.revision and desired.intent is Intent.SERVE:
            for slot in self._slots:
                slot.start_afresh()
        self.desired = desired
        self._size.settings = desired.settings
        self.scale(self.wanted_hosts)

    def scale(self, hosts: int) -> None:
        """Start or stop hosts until there are so many, within the settings; a host that stops finishes its batch.

        A pool that stops starts none: its version no longer serves.
        """
        if self._stopping:
            return
        settings = self.desired.settings
        self.wanted_hosts = wanted = min(max(hosts, settings.first_hosts), settings.most_hosts)
        while len(self._slots) < wanted:
            shared = self._serving, self._pace, self._stop_limit, self._changed, self._proves_time_limit
            trials = (lambda: self.side), self.copies, lambda: self._is_nice
            self._slots.append(HostSlot(self._context, self._batcher, lambda: self.desired, *shared, *trials))
        for slot in self._slots[wanted:]:
            self._leaving.add(slot)
            self._context.in_background(self._leave(slot))
        del self._slots[wanted:]
        self._context.changed.set()

    async def _leave(self, slot: HostSlot) -> None:
        await slot.stop()
        self._leaving.discard(slot)
        self._context.changed.set()

    def set_nice(self, *, wanted: bool) -> bool:
        """Let the hosts have less of the processor than others, or as much; False if the operating system refuses."""
        self._is_nice = wanted
        hosts = [slot.host for slot in self._slots if slot.host is not None]
        niceness = NICE if wanted else 0
        refused = [host for host in hosts if not host.set_nice(niceness)]
        return not refused

    def serve(self) -> None:
        """Let the hosts take batches, with the batch size of this version."""
        self._batcher.size = self._size
        self._serving.set()

    @property
    def is_used(self) -> bool:
        """Whether its hosts have or get jobs or copies of jobs."""
        return bool(self.running_jobs or self.copies.arrived.is_set())

    def begin_stop(self) -> None:
        """Start no more hosts from now on: `stop` follows."""
        self._stopping = True
        self._context.changed.set()

    async def stop(self) -> None:
        """Finish the running batches, then stop the hosts; return when they have exited."""
        self.begin_stop()
        await asyncio.gather(*(slot.stop() for slot in self._all_slots))
        self._context.changed.set()

    def cancel(self, job: QueuedJob, *, at_once: bool) -> None:
        """End a cancelled job if one of these hosts runs it; see `HostFeed.cancel`."""
        for slot in self._all_slots:
            slot.cancel(job, at_once=at_once)

    def kill(self) -> None:
        """Kill the hosts; the worker still holds their jobs."""
        for slot in self._all_slots:
            slot.kill()

    def pace(self) -> PaceReport | None:
        """Return the pace of the hosts for the worker's report."""
        return self._pace.report(self.ready_hosts)

    def report(self) -> VersionReport:
        """Return these hosts' part of the worker's report."""
        hosts = [slot.host for slot in self._slots if slot.host is not None]
        batches = self._size.p95()
        report: VersionReport = {
            "model_name": self.desired.model_name,
            "version": self.desired.version,
            "revision": self.desired.revision,
            "state": self.state,
            "error": self.error,
            "hosts": len(hosts),
            "hosts_wanted": self.wanted_hosts,
            "pids": [host.pid for host in hosts],
            "memory_bytes": sum(host.memory_bytes for host in hosts),
            "load_ms": max((host.load_ms or 0.0 for host in hosts), default=None),
            "outputs": self.outputs,
            "batch_size": self._size.rows,
            "batch_rows": batches.rows if batches else None,
            "batch_p95_ms": round(batches.batch_ms, 3) if batches else None,
            "predict_p95_ms": round(batches.predict_ms, 3) if batches else None,
            "warnings": next((host.warnings for host in hosts), []),
        }
        if self.waits_for is not None:
            report["waits_for"] = self.waits_for
        if self.building is not None:
            report["building"] = self.building
        if self.side is not None and self.side.arm is Arm.CANDIDATE:
            report["arm"] = Arm.CANDIDATE.value
            if self.state is HostsState.FAILED and not any(slot.failed_to_start for slot in self._slots):
                # A host was lost that had its model, and is being replaced: it ends a trial by what is counted.
                report["state"] = HostsState.LOADING
        return report

    def _changed(self) -> None:
        self._context.changed.set()
        if self.ready_hosts and not self._stopping:
            self._on_ready()
        elif not self.ready_hosts:
            self.on_lost()


def can_serve(before: DesiredDeployment, after: DesiredDeployment) -> bool:
    """Whether hosts of one deployment hold the version of another."""
    return _loaded_content(before) == _loaded_content(after)


def can_take_over(before: DesiredDeployment, after: DesiredDeployment) -> bool:
    """Whether hosts of one deployment can serve another as it is: none of its limits is lower."""
    return can_serve(before, after) and not (_lowers_memory_limit(before, after) or _lowers_time_limit(before, after))


def _lowers_memory_limit(before: DesiredDeployment, after: DesiredDeployment) -> bool:
    limit_bytes = memory_limit_bytes(after)
    return limit_bytes is not None and limit_bytes < (memory_limit_bytes(before) or math.inf)


def _lowers_time_limit(before: DesiredDeployment, after: DesiredDeployment) -> bool:
    return after.settings.timeout_s < before.settings.timeout_s


def _loaded_content(desired: DesiredDeployment) -> object:
    return (
        desired.model_name,
        desired.version,
        desired.artifact_sha256,
        desired.runtime,
        repr(desired.runtime_options),
        desired.signature,
    )
