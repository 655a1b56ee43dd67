"""Closing the difference between the deployments that are desired and the endpoints that this worker has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from redis import RedisError

from registry.deployments import DesiredDeployment, Intent
from registry.errors import RegistryError
from workers import keys
from workers.engine.context import Context
from workers.engine.endpoint import Endpoint
from workers.errors import TargetRefused
from workers.redis_client import EVEN_IF_FULL, script
from workers.webhooks import outbox

_log = logging.getLogger(__name__)

#: How often it looks while something winds down.
_WINDING_DOWN_S = 0.25
#: A drained queue has to stay empty for this long: a submitter may have read the deployment just before.
_GRACE_S = 2.0
#: KEYS: a hash. ARGV: endpoint, what is said of it, and so on.
_TELL = EVEN_IF_FULL + "redis.call('HSET', KEYS[1], unpack(ARGV))"


class Reconciler:
    """Runs until cancelled; a nudge makes the next pass immediate."""

    def __init__(
        self,
        context: Context,
        endpoints: dict[str, Endpoint],
        read_desired: Callable[[], list[DesiredDeployment]],
    ) -> None:
        self._context = context
        self._endpoints = endpoints
        self._read_desired = read_desired
        self._nudged = asyncio.Event()
        self._quiet_since: dict[str, float] = {}

    def nudge(self, *_: Any) -> None:
        """Desired deployments may have changed."""
        self._nudged.set()

    async def run(self) -> None:
        """Look again at each nudge, and regularly without one."""
        while True:
            self._nudged.clear()
            winding_down = False
            try:
                winding_down = await self._reconcile()
            except (RegistryError, RedisError, OSError) as error:
                _log.warning("going on with the deployments of before: %s", error)
            except Exception:  # noqa: BLE001 - the next pass may do what this one could not
                _log.exception("deployments could not be brought up to date")
            try:
                async with asyncio.timeout(_WINDING_DOWN_S if winding_down else self._interval_s):
                    await self._nudged.wait()
            except TimeoutError:
                continue

    @property
    def _interval_s(self) -> float:
        return self._context.settings.reconcile_interval_s

    async def _reconcile(self) -> bool:
        """Make one pass; tell whether something is winding down."""
        desired = {each.endpoint_name: each for each in await asyncio.to_thread(self._read_desired)}
        winding_down = [each.endpoint_name for each in desired.values() if each.intent is not Intent.SERVE]
        backlogs = await self._context.intake.depths(winding_down)
        # Before there are jobs of a deployment here whose ends are to be told.
        await self._tell_callbacks(desired.values())
        for name, wanted in desired.items():
            endpoint = self._endpoints.get(name)
            if endpoint is None:
                if wanted.intent is Intent.SERVE or (wanted.intent is not Intent.PARK and backlogs[name]):
                    self._endpoints[name] = endpoint = Endpoint(self._context, wanted)
                    endpoint.apply(wanted)
            elif endpoint.desired != wanted:
                endpoint.apply(wanted)
        for name in self._endpoints.keys() - desired.keys():
            self._endpoints[name].retire()
        await self._tell_limits(desired.values())
        return self._wind_down(backlogs)

    async def _tell_limits(self, desired: Iterable[DesiredDeployment]) -> None:
        """Let submitters know how long queues may be, who don't read the registry."""
        limits = {each.endpoint_name: each.settings.max_queue_length for each in desired}
        if limits:
            await self._tell(keys.LIMITS, limits)

    async def _tell_callbacks(self, desired: Iterable[DesiredDeployment]) -> None:
        """Let the scripts that end jobs know where that is to be told for a deployment."""
        callbacks: dict[str, str] = {}
        for each in desired:
            if each.settings.callback_url is not None:
                try:
                    callbacks[each.endpoint_name] = outbox.callback(each.settings.callback_url)
                except TargetRefused as error:
                    _log.error("the ends of jobs of %s are told to nobody: %s", each.endpoint_name, error)
        others = [each.endpoint_name for each in desired if each.endpoint_name not in callbacks]
        if callbacks:
            await self._tell(keys.ENDPOINT_CALLBACKS, callbacks)
        if others:
            await self._context.records.hdel(keys.ENDPOINT_CALLBACKS, *others)

    async def _tell(self, key: str, said: Mapping[str, str | int]) -> None:
        await script(self._context.records, _TELL)([key], [value for each in said.items() for value in each])

    def _wind_down(self, backlogs: dict[str, int]) -> bool:
        """End endpoints that have nothing to do any more; tell whether there are others on their way."""
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
            elif now - self._quiet_since.setdefault(name, now) >= (0 if leaves_backlog else _GRACE_S):
                endpoint.retire()
                if not endpoint.has_hosts:
                    self._forget(name)
        return winding_down

    def _forget(self, name: str) -> None:
        _log.info("endpoint %s is not served here any more", name)
        del self._endpoints[name]
        self._context.measures.forget(name)
        self._quiet_since.pop(name, None)
        self._context.changed.set()
