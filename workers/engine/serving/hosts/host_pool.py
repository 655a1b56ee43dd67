"""The model hosts of one version on one worker.

A pool has as many slots as the deployment has hosts. A slot keeps one host up; the slots of a pool share a batcher.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence

from registry.deployments import DesiredDeployment, Intent
from registry.signatures.output_columns import OutputDescription
from workers.engine.batching.batch_size import BatchSize
from workers.engine.batching.batcher import Batcher
from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving.hosts.compatibility import can_serve, can_take_over, lowers_time_limit
from workers.engine.serving.hosts.host_feed import HostStopLimit
from workers.engine.serving.hosts.host_slot import HostSlot
from workers.engine.serving.hosts.pace import PaceMeter
from workers.engine.serving.trials.copies import Copies
from workers.engine.serving.trials.trial import Side
from workers.hosts import processes
from workers.hosts.worker_side.host import RemoteHost
from workers.measures.arms import Arm
from workers.measures.reports import HostsState, PaceReport, VersionReport

#: In reports, memory is read again if it is older than this.
_FRESH_S = 2.0


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
        self._proves_time_limit = replaces is not None and lowers_time_limit(replaces.desired, desired)
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
        #: The pids of hosts, when their memory was read (s, monotonic), and how much it was.
        self._measured: tuple[tuple[int, ...], float, int] = (), -math.inf, 0
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
        return None if self.ready_hosts else self._one_waits_for

    @property
    def lacks_room(self) -> bool:
        """Whether a missing host waits for memory or a GPU."""
        return self._one_waits_for is not None

    @property
    def _one_waits_for(self) -> str | None:
        return next((slot.waits_for for slot in self._slots if slot.waits_for), None)

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
        niceness = processes.NICE if wanted else processes.own_niceness()
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
            "memory_bytes": self._memory_bytes(hosts),
            "load_ms": max((host.load_ms or 0.0 for host in hosts), default=None),
            "outputs": self.outputs,
            "batch_size": self._size.rows,
            "batch_rows": batches.rows if batches else None,
            "batch_p95_ms": round(batches.batch_ms, 3) if batches else None,
            "predict_p95_ms": round(batches.predict_ms, 3) if batches else None,
            "warnings": next((host.warnings for host in hosts), []),
        }
        if gpus := sorted({host.gpu for host in hosts if host.gpu is not None}):
            report["gpus"] = gpus
        if (waits_for := self._one_waits_for) is not None:
            report["waits_for"] = waits_for
        if self.building is not None:
            report["building"] = self.building
        if self.side is not None and self.side.arm is Arm.CANDIDATE:
            report["arm"] = Arm.CANDIDATE.value
            if self.state is HostsState.FAILED and not any(slot.failed_to_start for slot in self._slots):
                # A host was lost that had its model, and is being replaced: it ends a trial by what is counted.
                report["state"] = HostsState.LOADING
        return report

    def _memory_bytes(self, hosts: Sequence[RemoteHost]) -> int:
        """Return the memory of these hosts, as it was a moment ago: reports on a hundred hosts ask for it."""
        pids, now = tuple(host.pid for host in hosts), time.monotonic()
        known_pids, measured_at, _ = self._measured
        if pids != known_pids or now - measured_at > _FRESH_S:
            self._measured = pids, now, sum(host.memory_bytes for host in hosts)
        return self._measured[2]

    def _changed(self) -> None:
        self._context.changed.set()
        if self.ready_hosts and not self._stopping:
            self._on_ready()
        elif not self.ready_hosts:
            self.on_lost()
