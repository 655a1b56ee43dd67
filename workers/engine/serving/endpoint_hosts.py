"""The hosts of one endpoint on one worker: of the version that serves, and of the next one until it has replaced them.

A version that has no jobs may be without hosts: asleep. Its next job loads it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from registry.deployments import DesiredDeployment, Intent
from workers.engine.batching.batcher import Batcher
from workers.engine.context import Context
from workers.engine.serving.hosts.host_pool import HostPool
from workers.engine.serving.sleep import Sleep
from workers.measures.reports import HostsState, LoadFailure, PaceReport, VersionReport

_log = logging.getLogger(__name__)


class HostsEnds(NamedTuple):
    """What the endpoint does when its hosts change."""

    #: A version has been loaded, and serves from now on.
    swapped: Callable[[], None]
    #: The hosts of the version that serves have changed, or were swapped.
    ready: Callable[[], None]
    #: The next version can't be loaded now, or again.
    next_changed: Callable[[], None]
    #: A pool has ended, and none serves.
    ended: Callable[[], None]


class EndpointHosts:
    """Swaps versions, lets the one that serves sleep, and wakes it; belongs to one event loop."""

    def __init__(self, context: Context, batcher: Batcher, ends: HostsEnds) -> None:
        #: The jobs that wait for the version that serves.
        self.batcher = batcher
        self.current: HostPool | None = None
        self.next: HostPool | None = None
        #: Pools that finish their last batches.
        self.stopping: set[HostPool] = set()
        self._context = context
        self._ends = ends
        #: What is known of the version while no host has it; None if it has hosts, or hasn't been loaded yet.
        self.asleep: Sleep | None = None
        #: How long the version took to load (ms).
        self._load_ms: float | None = None

    @property
    def are_ready(self) -> bool:
        """Whether a host has the version that serves."""
        return self.current is not None and self.current.ready_hosts > 0

    @property
    def capacity(self) -> int:
        """The most jobs to hold at once: a batch for each host, and one that is collected, or wakes the version."""
        rows = self.batcher.size.rows_at_hand
        if self.current is None:
            return rows if self.can_wake else 0
        return rows * (self.current.ready_hosts + 1)

    @property
    def can_wake(self) -> bool:
        """Whether a job loads the version, or it is being loaded for jobs."""
        if self.asleep is None or self.next is None:
            return self.asleep is not None
        return self.next.state is HostsState.LOADING and self.next.waits_for is None

    @property
    def are_asleep(self) -> bool:
        """Whether there are none, and the next job loads them."""
        return self.asleep is not None and self.next is None

    @property
    def next_cannot_load(self) -> bool:
        """Whether the next version has failed to load, or waits for memory."""
        return self.next is not None and (self.next.state is HostsState.FAILED or self.next.waits_for is not None)

    @property
    def are_any(self) -> bool:
        """Whether any host runs, starts or stops."""
        return bool(self.current or self.next or self.stopping)

    def begin_asleep(self, desired: DesiredDeployment, load_ms: float | None) -> None:
        """Be asleep with a version that has been loaded before."""
        self.asleep = Sleep(desired, load_ms)

    def sleep(self, desired: DesiredDeployment) -> None:
        """End the hosts of the version that serves until the next job comes."""
        current = self.current
        assert current is not None  # noqa: S101 - the endpoint has seen it
        pace = current.pace()
        idle = None if pace is None else PaceReport(**{**pace, "hosts": 0})
        self.asleep = Sleep(desired, self._load_ms, current.report(), idle)
        self.current = None
        self.stop(current)

    def start_or_keep(self, desired: DesiredDeployment) -> None:
        """Apply settings to hosts that have the version; load another version, or prove a lower limit, beside them."""
        drains = desired.intent is Intent.DRAIN
        if self._stays_asleep(desired):
            return
        if self.current and (self.current.can_apply(desired) or (drains and self.current.can_serve(desired))):
            if self.current.can_apply(desired):  # or it drains with the limits that it has
                self.current.apply(desired)
            if self.next:
                self.stop(self.next)
                self.next = None
            return
        if self.next:
            # Another deploy of a version that failed to load requests another try; draining it doesn't.
            if self.next.can_apply(desired) and (drains or self.next.state is not HostsState.FAILED):
                self.next.apply(desired)
                return
            self.stop(self.next)
        _log.info("loading %s version %s for %s", desired.model_name, desired.version, desired.endpoint_name)
        self.next = HostPool(self._context, desired, self.batcher, self._hosts_ready, self.current)
        self.next.on_lost = self._ends.next_changed
        if self.asleep is not None:
            self.asleep = self.asleep.woken()

    def take_over(self, pool: HostPool, batcher: Batcher) -> None:
        """Serve with another pool and its batcher; those of before end."""
        before, self.current = self.current, pool
        self.batcher.succeeded_by(batcher)
        self.batcher = batcher
        if before is not None:
            self.stop(before)

    def stop(self, pool: HostPool) -> None:
        """Let a pool finish its batches and end, in the background."""
        self.stopping.add(pool)
        pool.begin_stop()  # now, or it starts hosts until the task runs
        self._context.in_background(self._stopped(pool))

    def stop_all(self) -> None:
        """Let all of them finish their batches and end."""
        for pool in (self.current, self.next):
            if pool:
                self.stop(pool)
        self.current = self.next = self.asleep = None

    async def ended(self) -> None:
        """Wait until those that stop have exited."""
        while self.stopping:
            await asyncio.gather(*(pool.stop() for pool in self.stopping))

    def pace(self) -> PaceReport | None:
        """Return the pace of the version that serves."""
        if self.current is not None:
            return self.current.pace()
        return self.asleep.pace if self.asleep else None

    def reports(self, beside: HostPool | None) -> list[VersionReport]:
        """Return the reports of all pools, with another one beside them, or of the version that is asleep."""
        pools = [pool for pool in (self.current, self.next, beside, *self.stopping) if pool]
        asleep = self.asleep
        if asleep is None:
            return [pool.report() for pool in pools]
        found = [asleep.waking(pool.report()) if pool is self.next else pool.report() for pool in pools]
        return [asleep.report(), *found] if self.next is None else found

    def load_failure(self) -> LoadFailure | None:
        """Return why the version can't be loaded, if none serves."""
        failed = self.next if self.current is None else None
        if failed is None or failed.state is not HostsState.FAILED:
            return None
        return {"revision": failed.desired.revision, "error": failed.error or ""}

    def _stays_asleep(self, desired: DesiredDeployment) -> bool:
        """Whether no host is needed yet; forget what was known of another version, which has to be loaded now."""
        if self.asleep is None:
            return False
        if not self.asleep.proves(desired):
            self.asleep = None
            return False
        self.asleep = self.asleep.with_settings(desired)
        wanted = len(self.batcher) or not desired.settings.may_sleep or desired.candidate is not None
        return self.next is None and not wanted

    def _hosts_ready(self) -> None:
        """Swap: the old hosts stop only now, when the next ones are loaded and warm."""
        if self.next and self.next.ready_hosts:
            old, self.current, self.next = self.current, self.next, None
            self.current.on_lost = lambda: None
            self._loaded(self.current)
            self.current.serve()
            if old:
                self.stop(old)
            self._ends.swapped()
        self._ends.ready()

    def _loaded(self, pool: HostPool) -> None:
        """Measure how long a version took to load."""
        now = time.monotonic()
        asleep, self.asleep = self.asleep, None
        was_cold = asleep is not None and asleep.woken_at is not None
        began_at = asleep.began_at if asleep is not None and was_cold else pool.began_at
        if was_cold:
            self._context.counters.cold_start(pool.desired, now - began_at)
            _log.info("%s woke after %.0f ms", pool.desired.endpoint_name, (now - began_at) * 1000)
        self._load_ms = round((now - began_at) * 1000, 3)
        loaded = self._context.versions.loaded(pool.desired.artifact_sha256, self._load_ms)
        self._context.in_background(loaded)

    async def _stopped(self, pool: HostPool) -> None:
        await pool.stop()
        self.stopping.discard(pool)
        self._context.changed.set()
        if self.current is None:
            self._ends.ended()
