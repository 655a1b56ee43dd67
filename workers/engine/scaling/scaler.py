"""Looks at the endpoints of one worker at an interval: lets idle ones sleep, adds hosts, and takes spare ones back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from redis import RedisError

from registry.deployments import DesiredDeployment
from workers.engine.context import Context
from workers.engine.scaling.growth import MEASURED_S, Bounds, Growth, Sight, decide, is_short
from workers.engine.serving.endpoint import Endpoint
from workers.engine.serving.hosts import host_gpu
from workers.engine.serving.hosts.host_pool import HostPool
from workers.measures import paces
from workers.measures.paces import Pace
from workers.platform.loops.steps import in_steps

_log = logging.getLogger(__name__)

#: Interval of looks at the endpoints.
_INTERVAL_S = 0.5


class Scaler:
    """Changes the number of hosts of endpoints until cancelled; belongs to their event loop."""

    def __init__(self, context: Context, endpoints: Mapping[str, Endpoint]) -> None:
        self._context = context
        self._endpoints = endpoints
        self._growths: WeakKeyDictionary[HostPool, Growth] = WeakKeyDictionary()
        #: Since when jobs wait too long with all hosts that a pool can have (monotonic, s).
        self._short_since: WeakKeyDictionary[HostPool, float] = WeakKeyDictionary()

    async def run(self) -> None:
        """Look at all endpoints, again and again."""
        while True:
            try:
                await self.look(time.monotonic())
            except (RedisError, OSError) as error:
                _log.info("reading the depths of queues failed (%s): the numbers of hosts stay", error)
            await asyncio.sleep(_INTERVAL_S)

    async def look(self, now: float) -> None:
        """Let idle endpoints sleep, and add or remove hosts; `now` is monotonic (s)."""
        scaled, busy = dict[str, HostPool](), list[str]()
        async for endpoint in in_steps(list(self._endpoints.values())):
            if endpoint.is_asleep:
                continue  # they are most of many
            is_busy = endpoint.busy
            if is_busy:
                endpoint.used_at = now
            elif now - endpoint.used_at >= endpoint.desired.settings.idle_limit_s:
                endpoint.sleep()
            if (pool := endpoint.scaled_pool) is not None:
                scaled[endpoint.name] = pool
                busy += [endpoint.name] if is_busy else []
        queued = await self._context.intake.depths(busy) if busy else {}
        async for name, pool in in_steps(scaled.items()):
            wait_s: float | None = 0.0
            if name in queued and (waited_for := self._endpoints.get(name)) is not None:
                unfinished = queued[name] + len(waited_for.waiting_jobs) + len(pool.running_jobs)
                wait_s = await self._wait_s(name, pool, unfinished)
            served = self._endpoints.get(name)
            if served is not None and served.scaled_pool is pool:  # or it was swapped out meanwhile
                self._ask_next(served, pool, self._scale(pool, now, wait_s))

    async def _wait_s(self, name: str, pool: HostPool, unfinished: int) -> float | None:
        """Estimate the wait behind so many jobs, at the pace of all workers."""
        own = pool.pace()
        if own is None:
            return None
        own_s = _wait_s(Pace(**own), unfinished)
        if own_s <= pool.desired.settings.wait_target_s:
            return own_s
        # Others may serve the queue as well. Reports of all workers are read only for those that are late.
        pace, _ = await asyncio.to_thread(paces.default_paces().of, name)
        return own_s if pace is None or pace.hosts < own["hosts"] else _wait_s(pace, unfinished)

    def _ask_next(self, endpoint: Endpoint, pool: HostPool, sight: Sight) -> None:
        """Let the next worker serve the endpoint as well once jobs have waited too long for a while."""
        is_overloaded = False
        if is_short(self._growths[pool], sight, _bounds(pool)):
            is_overloaded = sight.now - self._short_since.setdefault(pool, sight.now) >= MEASURED_S
        else:
            self._short_since.pop(pool, None)
        if is_overloaded is not endpoint.is_overloaded:
            endpoint.is_overloaded = is_overloaded
            self._context.changed.set()

    def _scale(self, pool: HostPool, now: float, wait_s: float | None) -> Sight:
        bounds = _bounds(pool)
        is_late = wait_s is not None and wait_s > bounds.target_wait_s
        seen = Sight(
            now,
            pool.wanted_hosts,
            pool.ready_hosts,
            pool.busy_hosts,
            wait_s,
            pool.rows_ended,
            pool.batches_ended,
            failed=pool.ready_hosts < pool.wanted_hosts and pool.error is not None,
            has_room=not is_late or self._has_room(pool.desired),  # it is asked for those alone
            lacks_room=pool.lacks_room,
        )
        self._growths[pool], hosts = decide(self._growths.get(pool, Growth()), seen, bounds)
        if hosts != seen.hosts:
            _log.info("%s: changing from %d to %d hosts", pool.desired.endpoint_name, seen.hosts, hosts)
            pool.scale(hosts)
        return seen

    def _has_room(self, desired: DesiredDeployment) -> bool:
        need = self._context.versions.known_need(desired)
        return self._context.memory.has_room(need) and host_gpu.has_room(self._context, desired)


def _bounds(pool: HostPool) -> Bounds:
    settings = pool.desired.settings
    return Bounds(settings.first_hosts, settings.most_hosts, settings.wait_target_s, settings.idle_limit_s)


def _wait_s(pace: Pace, unfinished: int) -> float:
    """Return the estimate, also beyond the batches that were measured."""
    estimate = pace.wait_s(unfinished)
    return unfinished / pace.jobs_per_s if estimate is None else estimate
