"""Reconciles the desired deployments with the endpoints of this worker."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import RedisError

from registry.deployments import DesiredDeployment, Intent
from registry.errors import RegistryError
from workers import keys
from workers.engine.context import Context
from workers.engine.placement.placement import Placement
from workers.engine.serving.endpoint import Endpoint
from workers.engine.upkeep.redis_hash import KeptHash
from workers.engine.upkeep.redis_memory import RedisMemory
from workers.engine.upkeep.releasing import Release
from workers.engine.upkeep.snapshot_writer import SnapshotWriter
from workers.errors import TargetRefused
from workers.jobs.endings import outbox
from workers.jobs.weights import BYTES_SUFFIX

_log = logging.getLogger(__name__)

#: Interval of passes while an endpoint winds down.
_WINDING_DOWN_S = 0.25
#: A drained queue must stay empty for this long: a client may have read the deployment just before the undeploy.
_DRAINED_GRACE_S = 2.0
#: Intents of undeployed endpoints whose queues may be deleted.
_UNDEPLOYED = (Intent.DRAIN, Intent.REJECT)


class Reconciler:
    """Reconciles until cancelled; a nudge makes the next pass immediate."""

    def __init__(
        self,
        context: Context,
        release: Release,
        endpoints: dict[str, Endpoint],
        read_desired: Callable[[], list[DesiredDeployment]],
        placement: Placement,
    ) -> None:
        self._context = context
        self._release = release
        self._endpoints = endpoints
        self._read_desired = read_desired
        self._placement = placement
        self._memory = RedisMemory(context.records)
        self._limits = KeptHash(context.records, keys.LIMITS)
        self._callbacks = KeptHash(context.records, keys.ENDPOINT_CALLBACKS)
        self._nudged = asyncio.Event()
        self._quiet_since: dict[str, float] = {}
        #: Endpoints whose queues are deleted.
        self._dropped: set[str] = set()
        self._snapshots = SnapshotWriter(context.records)

    def nudge(self, *_: Any) -> None:
        """Start the next pass now: desired deployments may have changed."""
        self._nudged.set()

    async def run(self) -> None:
        """Make a pass at each nudge, and at an interval."""
        while True:
            self._nudged.clear()
            winding_down = False
            try:
                winding_down = await self._reconcile()
            except (RegistryError, RedisError, OSError) as error:
                _log.warning("keeping the previous deployments: %s", error)
            except Exception:  # noqa: BLE001 - the next pass may succeed
                _log.exception("reconciling deployments failed")
            try:
                async with asyncio.timeout(_WINDING_DOWN_S if winding_down else self._interval_s):
                    await self._nudged.wait()
            except TimeoutError:
                continue

    @property
    def _interval_s(self) -> float:
        return self._context.settings.reconcile_interval_s

    async def _reconcile(self) -> bool:
        """Make one pass; return whether an endpoint is winding down."""
        desired = {each.endpoint_name: each for each in await asyncio.to_thread(self._read_desired)}
        winding_down = [each.endpoint_name for each in desired.values() if each.intent is not Intent.SERVE]
        backlogs = await self._backlogs(winding_down)
        # Before any job of the deployment can end here.
        deployed = [each for each in desired.values() if not each.is_replay]
        await self._write_callbacks(deployed)
        asleep = await self._look_at_places(desired.values(), backlogs)
        self._warm_up([desired[name] for name in asleep])
        for name, wanted in desired.items():
            endpoint = self._endpoints.get(name)
            if endpoint is None:
                if wanted.intent is Intent.SERVE or (wanted.intent is not Intent.PARK and backlogs[name]):
                    self._endpoints[name] = endpoint = Endpoint(self._context, wanted)
                    endpoint.is_placed = self._placement.is_placed(wanted)
                    if endpoint.is_placed and name in asleep:
                        endpoint.begin_asleep(asleep[name])
                    endpoint.apply(wanted)
            elif endpoint.desired != wanted:
                endpoint.apply(wanted)
        for name in self._endpoints.keys() - desired.keys():
            self._endpoints[name].retire()
        await self._placement.apply()
        await self._write_limits(deployed)
        await self._snapshots.write(deployed)
        winds_down = self._wind_down(backlogs)
        await self._drop_queues(desired.values())
        return winds_down

    def _warm_up(self, asleep: Sequence[DesiredDeployment]) -> None:
        """Import the libraries that most of these deployments need, or the first job would wait for seconds."""
        runtimes = Counter(each.runtime for each in asleep if each.environment_sha256 is None)
        for runtime, _ in runtimes.most_common(1):
            self._context.launcher.warm_up(runtime)

    async def _look_at_places(
        self, desired: Iterable[DesiredDeployment], backlogs: dict[str, int]
    ) -> dict[str, float | None]:
        """Decide what is served here; return the deployments that begin asleep, with the time of a load (ms)."""
        known = self._endpoints
        wanted = [
            each
            for each in desired
            if each.intent is Intent.SERVE or each.endpoint_name in known or backlogs[each.endpoint_name]
        ]
        self._placement.keep([each.endpoint_name for each in wanted])
        await self._placement.look(wanted)
        return await self._placement.asleep([each for each in wanted if each.endpoint_name not in known])

    async def _drop_queues(self, desired: Iterable[DesiredDeployment]) -> None:
        """Delete the queues of ended replays, and of endpoints undeployed more than `unused_queue_ttl_s` ago."""
        self._dropped -= self._endpoints.keys()
        latest = datetime.now(UTC) - timedelta(seconds=self._context.settings.unused_queue_ttl_s)
        unused = (each for each in desired if each.intent in _UNDEPLOYED)
        over = {each.endpoint_name for each in unused if each.is_replay or each.updated_at <= latest}
        for name in over - self._dropped - self._endpoints.keys():
            if await self._context.intake.drop_queues(name):
                self._dropped.add(name)

    async def _backlogs(self, names: Sequence[str]) -> dict[str, int]:
        """Return how many jobs of each endpoint no worker has fetched: queued and delayed ones."""
        queued, delayed = await self._context.intake.depths(names), await self._release.waiting(names)
        return {name: queued[name] + delayed[name] for name in names}

    async def _write_limits(self, desired: Iterable[DesiredDeployment]) -> None:
        """Write the limits of queues for clients that don't read the registry, and the default limit in bytes."""
        limits, by_default = dict[str, int](), list[str]()
        for each in desired:
            settings, most_bytes_of = each.settings, each.endpoint_name + BYTES_SUFFIX
            limits[each.endpoint_name] = settings.max_queue_length
            if settings.max_queue_bytes is None:
                by_default.append(most_bytes_of)
            else:
                limits[most_bytes_of] = settings.max_queue_bytes
        if (share_bytes := await self._memory.queue_bytes()) is not None:
            limits[BYTES_SUFFIX] = share_bytes
        await self._limits.keep(limits, by_default)

    async def _write_callbacks(self, desired: Iterable[DesiredDeployment]) -> None:
        """Write the deployments' callback URLs for the scripts that end jobs."""
        callbacks: dict[str, str] = {}
        for each in desired:
            if each.settings.callback_url is not None:
                try:
                    callbacks[each.endpoint_name] = outbox.callback(each.settings.callback_url)
                except TargetRefused as error:
                    _log.error("webhooks for %s are disabled: %s", each.endpoint_name, error)
        others = [each.endpoint_name for each in desired if each.endpoint_name not in callbacks]
        await self._callbacks.keep(callbacks, others)

    def _wind_down(self, backlogs: dict[str, int]) -> bool:
        """Retire endpoints that have no jobs left; return whether any endpoint is still winding down."""
        now = asyncio.get_running_loop().time()
        winding_down = False
        for name, endpoint in list(self._endpoints.items()):
            if endpoint.desired.intent is Intent.SERVE and not endpoint.retired:
                self._quiet_since.pop(name, None)
                continue
            winding_down = True
            leaves_backlog = endpoint.retired or endpoint.desired.intent is Intent.PARK
            if endpoint.busy or (backlogs.get(name) and not leaves_backlog):
                self._quiet_since.pop(name, None)
            elif now - self._quiet_since.setdefault(name, now) >= (0 if leaves_backlog else _DRAINED_GRACE_S):
                endpoint.retire()
                if not endpoint.has_hosts:
                    self._forget(name)
        return winding_down

    def _forget(self, name: str) -> None:
        _log.info("endpoint %s is no longer served here", name)
        del self._endpoints[name]
        self._context.counters.forget(name)
        self._context.troubles.pop(name, None)
        self._quiet_since.pop(name, None)
        self._context.changed.set()
