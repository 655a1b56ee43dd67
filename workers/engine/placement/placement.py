"""Places the endpoints of one worker: those with a range of hosts by the ranking, others on each of the group."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Collection, Iterable, Mapping

from redis import RedisError

from registry.deployments import DesiredDeployment, Intent
from workers import keys
from workers.engine.context import Context
from workers.engine.placement.decision import Place, Sight, decide
from workers.engine.placement.ranking import ranked_before
from workers.engine.placement.roster import Roster
from workers.engine.serving.endpoint import Endpoint
from workers.measures import reports
from workers.platform.loops.steps import in_steps

_log = logging.getLogger(__name__)

#: Interval of looks at the reports.
_INTERVAL_S = 1.0
#: Reports are read again if they are older than this.
_FRESH_S = 0.25
#: A worker that reports nothing of an endpoint for so long does not count for it: it may not reach the registry.
PATIENCE_S = 10.0


class Placement:
    """Places endpoints until cancelled; belongs to their event loop."""

    def __init__(self, context: Context, endpoints: Mapping[str, Endpoint]) -> None:
        self._context = context
        self._endpoints = endpoints
        self._roster = Roster(context.worker_name, context.settings.worker_group)
        self._places: dict[str, Place] = {}
        #: When each endpoint was wanted first (monotonic, s).
        self._wanted_since: dict[str, float] = {}
        #: The workers that are ranked before this one for each endpoint, until others come or go.
        self._before: dict[str, list[str]] = {}
        self._read_at = -math.inf

    async def run(self) -> None:
        """Look at the reports again and again, and place the endpoints."""
        was_read = True
        while True:
            try:
                await self.look([each.desired for each in self._endpoints.values()])
                await self.apply()
                was_read = True
            except (RedisError, OSError) as error:
                if was_read:
                    _log.warning("reading the workers' reports failed (%s): endpoints stay where they are", error)
                was_read = False
            await asyncio.sleep(_INTERVAL_S)

    async def look(self, desired: Iterable[DesiredDeployment]) -> None:
        """Read the reports of workers, and decide about these deployments. Raises RedisError, OSError."""
        ranged = [each for each in desired if _is_placed_anew(each)]
        if not ranged:
            return
        if time.monotonic() - self._read_at > _FRESH_S:
            await self._read()
        now = time.monotonic()
        async for each in in_steps(ranged):
            self._decide(each, now)

    def is_placed(self, desired: DesiredDeployment) -> bool:
        """Whether this worker serves a deployment; one about which nothing was decided stays as it is."""
        return not _is_placed_anew(desired) or self._place(desired.endpoint_name).is_placed

    def keep(self, names: Collection[str]) -> None:
        """Forget all but these endpoints."""
        for forgotten in self._wanted_since.keys() - set(names):
            del self._wanted_since[forgotten]
            self._places.pop(forgotten, None)
            self._before.pop(forgotten, None)

    async def apply(self) -> None:
        """Let endpoints begin or end to serve here, as decided. Raises RedisError, OSError."""
        changed = [each for each in self._endpoints.values() if each.is_placed != self.is_placed(each.desired)]
        asleep = await self.asleep([each.desired for each in changed if not each.is_placed])
        for endpoint in changed:
            if not endpoint.is_placed and endpoint.name in asleep:
                endpoint.begin_asleep(asleep[endpoint.name])
            endpoint.place(is_placed=self.is_placed(endpoint.desired))

    async def asleep(self, desired: Iterable[DesiredDeployment]) -> dict[str, float | None]:
        """Return those deployments that this worker may begin to serve asleep, with the time of a load (ms).

        They have been served before, and no worker has hosts whose jobs would then wait for a load here.
        Raises RedisError, OSError.
        """
        may = [each for each in desired if each.settings.may_sleep and each.intent is Intent.SERVE]
        resting = [each for each in may if not each.is_replay and not self._roster.has_model(each.endpoint_name)]
        if not resting:
            return {}
        revisions = await self._context.records.hmget(keys.SERVED, [each.endpoint_name for each in resting])
        served = [
            each for each, at in zip(resting, revisions, strict=True) if at is not None and int(at) == each.revision
        ]
        facts = await self._context.versions.facts([each.artifact_sha256 for each in served])
        found = {each.endpoint_name: facts.get(each.artifact_sha256) for each in served}
        return {name: each.load_ms if each else None for name, each in found.items()}

    async def _read(self) -> None:
        try:
            async with self._context.records.pipeline(transaction=False) as pipeline:
                reports.queue_reads(pipeline)
                replies = await pipeline.execute()
        except (RedisError, OSError):
            self._roster.missed()
            raise
        self._read_at = time.monotonic()
        names = self._roster.names
        self._roster.update(replies, self._read_at)
        if set(names) != set(self._roster.names):
            self._before.clear()

    def _decide(self, desired: DesiredDeployment, now: float) -> None:
        name, endpoint = desired.endpoint_name, self._endpoints.get(desired.endpoint_name)
        self._wanted_since.setdefault(name, now)
        with_gpu = self._roster.with_gpu() if desired.settings.gpu else None
        if with_gpu is not None and (not _is_ranged(desired) or (with_gpu and not self._context.gpus.gpus)):
            # Workers with a GPU serve it. While there is none in the group, the others show that.
            self._places[name] = Place(is_placed=bool(self._context.gpus.gpus) or not with_gpu)
            return
        ranked = self._ranked_before(name, with_gpu)
        if not ranked and endpoint is not None and endpoint.is_asleep:  # they are most of many
            self._places[name] = Place(is_placed=True, looked_at=now)
            return
        own = Sight(busy_hosts=endpoint.busy_hosts, is_busy=endpoint.busy) if endpoint else Sight()
        before = [seen for worker in ranked if (seen := self._sight(worker, name, now)) is not None]
        self._places[name] = decide(self._place(name), before, own, now, desired.settings.idle_limit_s)

    def _place(self, endpoint_name: str) -> Place:
        endpoint = self._endpoints.get(endpoint_name)
        undecided = Place(is_placed=endpoint is not None and endpoint.is_placed)
        return self._places.get(endpoint_name, undecided)

    def _ranked_before(self, endpoint_name: str, with_gpu: Collection[str] | None) -> list[str]:
        if with_gpu is not None and self._context.gpus.gpus:
            return ranked_before(endpoint_name, self._context.worker_name, with_gpu)
        if endpoint_name not in self._before:
            ranks = ranked_before(endpoint_name, self._context.worker_name, self._roster.names)
            self._before[endpoint_name] = ranks
        return self._before[endpoint_name]

    def _sight(self, worker_name: str, endpoint_name: str, now: float) -> Sight | None:
        """Return what a worker reports of an endpoint; None if it reports nothing for too long."""
        seen = self._roster.sight(worker_name, endpoint_name)
        since = max(self._wanted_since[endpoint_name], self._roster.since(worker_name))
        return Sight() if seen is None and now - since < PATIENCE_S else seen


def _is_placed_anew(desired: DesiredDeployment) -> bool:
    """Whether it depends on the other workers who serves it."""
    return _is_ranged(desired) or desired.settings.gpu > 0


def _is_ranged(desired: DesiredDeployment) -> bool:
    return desired.settings.has_range and not desired.is_replay
