"""The hosts of one model version on one worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from registry.deployments import DesiredDeployment
from workers.engine.batch_size import BatchSize
from workers.engine.batching import Batcher
from workers.engine.context import Context
from workers.engine.host_slot import HostSlot
from workers.engine.messages import QueuedJob
from workers.engine.pace import PaceMeter
from workers.reports import HostsState, PaceReport, VersionReport


class HostGroup:
    """As many host slots as the deployment's settings say, all with the same version."""

    def __init__(
        self, context: Context, desired: DesiredDeployment, batcher: Batcher, on_ready: Callable[[], None]
    ) -> None:
        self.desired = desired
        self._context = context
        self._batcher = batcher
        self._size = BatchSize(desired.settings)
        self._pace = PaceMeter(self._size)
        self._on_ready = on_ready
        self._slots: list[HostSlot] = []
        self._serving = asyncio.Event()
        self._stopping = False
        self.apply(desired)

    @property
    def running_jobs(self) -> list[QueuedJob]:
        """The jobs that the hosts have right now."""
        return [job for slot in self._slots for job in slot.running_jobs]

    @property
    def ready_hosts(self) -> int:
        """How many hosts have their model loaded."""
        return sum(slot.host is not None for slot in self._slots)

    @property
    def error(self) -> str | None:
        """Why a host is missing."""
        return next((slot.error for slot in self._slots if slot.error), None)

    @property
    def state(self) -> HostsState:
        """How far these hosts are."""
        if self._stopping:
            return HostsState.STOPPING
        if self.ready_hosts:
            return HostsState.READY
        return HostsState.FAILED if self.error else HostsState.LOADING

    def can_serve(self, desired: DesiredDeployment) -> bool:
        """Whether these hosts hold what that deployment wants; the rest can change while they run."""
        return _held(self.desired) == _held(desired)

    def apply(self, desired: DesiredDeployment) -> None:
        """Take over settings, and start or stop hosts until there are as many as they say."""
        self.desired = desired
        self._size.settings = desired.settings
        wanted = desired.settings.hosts
        while len(self._slots) < wanted:
            shared = self._serving, self._pace, self._changed
            self._slots.append(HostSlot(self._context, self._batcher, lambda: self.desired, *shared))
        for slot in self._slots[wanted:]:
            self._context.in_background(slot.stop())
        del self._slots[wanted:]
        self._context.changed.set()

    def serve(self) -> None:
        """Let the hosts take batches, of sizes that fit this version."""
        self._batcher.size = self._size
        self._serving.set()

    async def stop(self) -> None:
        """Finish the running batches, then end the hosts; returns when they have ended."""
        self._stopping = True
        self._context.changed.set()
        await asyncio.gather(*(slot.stop() for slot in self._slots))
        self._context.changed.set()

    def cancel(self, job: QueuedJob) -> None:
        """Stop the host that runs this job, if one does."""
        for slot in self._slots:
            slot.cancel(job)

    def kill(self) -> None:
        """End the hosts now; the jobs that they have are still held by the worker."""
        for slot in self._slots:
            slot.kill()

    def pace(self) -> PaceReport | None:
        """How fast the hosts are, for the worker's report."""
        return self._pace.report(self.ready_hosts)

    def report(self) -> VersionReport:
        """What the worker's report says of these hosts."""
        hosts = [slot.host for slot in self._slots if slot.host is not None]
        batches = self._size.p95()
        return {
            "model_name": self.desired.model_name,
            "version": self.desired.version,
            "revision": self.desired.revision,
            "state": self.state,
            "error": self.error,
            "hosts": len(hosts),
            "hosts_wanted": self.desired.settings.hosts,
            "pids": [host.pid for host in hosts],
            "memory_bytes": sum(host.memory_bytes for host in hosts),
            "load_ms": max((host.load_ms or 0.0 for host in hosts), default=None),
            "outputs": next((host.outputs for host in hosts), None),
            "batch_size": self._size.rows,
            "batch_rows": batches.rows if batches else None,
            "batch_p95_ms": round(batches.batch_ms, 3) if batches else None,
            "predict_p95_ms": round(batches.predict_ms, 3) if batches else None,
        }

    def _changed(self) -> None:
        self._context.changed.set()
        if self.ready_hosts and not self._stopping:
            self._on_ready()


def _held(desired: DesiredDeployment) -> object:
    return (
        desired.model_name,
        desired.version,
        desired.artifact_sha256,
        desired.runtime,
        repr(desired.runtime_options),
        desired.signature,
    )
