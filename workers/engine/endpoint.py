"""One endpoint on one worker: its waiting jobs, the hosts that serve it, and those that are to take over."""

from __future__ import annotations

import asyncio
import logging
import time

from registry.deployments import DesiredDeployment, Intent
from workers.engine import endings
from workers.engine.batching import Batcher
from workers.engine.context import Context
from workers.engine.host_group import HostGroup
from workers.engine.messages import QueuedJob
from workers.errors import EndpointUndeployed
from workers.paces import Pace
from workers.reports import EndpointReport, HostsState

_log = logging.getLogger(__name__)

#: How many jobs at once are taken from a queue to be rejected.
_REJECTED_AT_ONCE = 500
#: Jobs that may not run yet are held by the worker; beyond this many nothing more is taken.
_MOST_DELAYED = 10_000


class Endpoint:
    """Does what its desired deployment says; belongs to one event loop."""

    def __init__(self, context: Context, desired: DesiredDeployment) -> None:
        self.desired = desired
        self._context = context
        self._batcher = Batcher(desired.settings)
        self._current: HostGroup | None = None
        self._next: HostGroup | None = None
        #: Groups that finish their last batches.
        self._stopping: set[HostGroup] = set()
        self._delayed: dict[QueuedJob, asyncio.TimerHandle] = {}
        #: Set when this worker takes no more jobs of this endpoint, whatever is desired.
        self.retired = False

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return self.desired.endpoint_name

    @property
    def capacity(self) -> int:
        """How many jobs it can use at once: a batch for each host, and one that gathers meanwhile."""
        if self.retired or self.desired.intent is Intent.PARK:
            return 0
        if self.desired.intent is Intent.REJECT:
            return _REJECTED_AT_ONCE
        if self._current is None or len(self._delayed) >= _MOST_DELAYED:
            return 0
        return self._batcher.size.rows_at_hand * (self._current.ready_hosts + 1)

    @property
    def credit(self) -> int:
        """How many more jobs it can use now."""
        return self.capacity - len(self._batcher)

    @property
    def credit_if_high(self) -> int:
        """How many more jobs it can use if any of them go before those that wait here: a batch on top."""
        capacity = self.capacity
        return capacity + self._batcher.size.rows_at_hand - len(self._batcher) if capacity else 0

    @property
    def delayed(self) -> int:
        """How many jobs it holds whose time has not come."""
        return len(self._delayed)

    @property
    def running_jobs(self) -> list[QueuedJob]:
        """The jobs that hosts have right now."""
        groups = [group for group in (self._current, *self._stopping) if group]
        return [job for group in groups for job in group.running_jobs]

    @property
    def waiting_jobs(self) -> list[QueuedJob]:
        """The jobs that wait for a host or for their time."""
        return [*self._batcher.jobs, *self._delayed]

    @property
    def busy(self) -> bool:
        """Whether it has jobs that wait or run."""
        return bool(len(self._batcher) or self._delayed or self.running_jobs)

    @property
    def has_hosts(self) -> bool:
        """Whether any host is up, coming up or going down."""
        return bool(self._current or self._next or self._stopping)

    def apply(self, desired: DesiredDeployment) -> None:
        """Begin to do what is desired now; a version that other hosts hold is swapped in once it is loaded."""
        self.desired = desired
        self._batcher.settings = desired.settings
        if desired.intent in (Intent.SERVE, Intent.DRAIN) and not self.retired:
            self._have_hosts(desired)
            self._context.intake.ring(self.name)
            return
        self._stop_hosts()
        self._context.intake.ring(self.name)
        if desired.intent is Intent.REJECT and not self.retired:
            self._reject(self._taken_back())
        else:
            self._give_back(self._taken_back())

    def retire(self) -> None:
        """Give back what waits, finish what runs, and end the hosts: other workers may serve it."""
        self.retired = True
        self.apply(self.desired)

    def receive(self, jobs: list[QueuedJob]) -> None:
        """Take over jobs that were fetched from the queue."""
        self._context.outbox.received(jobs, self.desired.settings.events)
        if self.retired or self.desired.intent is Intent.PARK:
            self._give_back(jobs)
        elif self.desired.intent is Intent.REJECT:
            self._reject(jobs)
        else:
            now = time.time()
            self._batcher.put(job for job in jobs if (job.not_before or 0) <= now)
            for job in jobs:
                if (job.not_before or 0) > now:
                    self._delay(job, (job.not_before or 0) - now)

    def cancel(self, job: QueuedJob) -> None:
        """Stop the host that runs a job whose record says that it is cancelled."""
        for group in (self._current, *self._stopping):
            if group:
                group.cancel(job)

    async def stop(self) -> None:
        """Wait until what runs is finished and the hosts have ended."""
        self._stop_hosts()
        while self._stopping:
            await asyncio.gather(*(group.stop() for group in self._stopping))

    def kill(self) -> None:
        """End the hosts now."""
        for group in (self._current, self._next, *self._stopping):
            if group:
                group.kill()

    def report(self) -> EndpointReport:
        """What the worker's report says of this endpoint."""
        groups = [group for group in (self._current, self._next, *self._stopping) if group]
        pace = self._current.pace() if self._current else None
        return {
            "versions": [group.report() for group in groups],
            "waiting": len(self._batcher) + len(self._delayed),
            "running": len(self.running_jobs),
            "pace": pace,
            "jobs_per_s": Pace(**pace).jobs_per_s if pace else 0.0,
        }

    def _have_hosts(self, desired: DesiredDeployment) -> None:
        if self._current and self._current.can_serve(desired):
            self._current.apply(desired)
            if self._next:
                self._stop(self._next)
                self._next = None
            return
        if self._next:
            # To deploy again what could not be loaded is to ask for another try now.
            if self._next.can_serve(desired) and self._next.state is not HostsState.FAILED:
                self._next.apply(desired)
                return
            self._stop(self._next)
        _log.info("loading %s version %s for %s", desired.model_name, desired.version, self.name)
        self._next = HostGroup(self._context, desired, self._batcher, self._hosts_ready)

    def _hosts_ready(self) -> None:
        """Swap: only now that the next hosts are loaded and warm do the old ones stop."""
        if self._next and self._next.ready_hosts:
            old, self._current, self._next = self._current, self._next, None
            self._current.serve()
            if old:
                self._stop(old)
        # A host more means more credit, and a host that was missing may have left jobs in the queue.
        self._context.intake.ring(self.name)

    def _stop_hosts(self) -> None:
        for group in (self._current, self._next):
            if group:
                self._stop(group)
        self._current = self._next = None

    def _stop(self, group: HostGroup) -> None:
        self._stopping.add(group)
        self._context.in_background(self._stopped(group))

    async def _stopped(self, group: HostGroup) -> None:
        await group.stop()
        self._stopping.discard(group)
        self._context.changed.set()
        if self._current is None:
            # A lost batch may have come back to a queue that nobody here reads any more.
            self.apply(self.desired)

    def _taken_back(self) -> list[QueuedJob]:
        for timer in self._delayed.values():
            timer.cancel()
        jobs = [*self._batcher.take_all(), *self._delayed]
        self._delayed.clear()
        return jobs

    def _delay(self, job: QueuedJob, seconds: float) -> None:
        def due() -> None:
            self._delayed.pop(job, None)
            self._batcher.put([job])

        self._delayed[job] = asyncio.get_running_loop().call_later(seconds, due)

    def _reject(self, jobs: list[QueuedJob]) -> None:
        if not jobs:
            return
        error = EndpointUndeployed(f"Endpoint {self.name!r} was undeployed and its queued jobs were rejected.")
        now = time.time()
        ends = [endings.failed(self._context, job, error, None, now) for job in jobs]
        self._context.in_background(endings.write(self._context, self.desired, ends))
        self._context.intake.ring(self.name)

    def _give_back(self, jobs: list[QueuedJob]) -> None:
        if jobs:
            self._context.in_background(self._context.give_back(jobs))
