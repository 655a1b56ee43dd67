"""The services and data that the parts of one worker's engine share."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis import RedisError
from redis.asyncio import Redis

from registry.artifacts.cache import ArtifactCache
from workers.engine.environments import Environments
from workers.engine.gpus.shares import GpuShares
from workers.engine.intake.messages import QueuedJob, release_claims
from workers.engine.intake.protocol import Intake
from workers.engine.memory.budget import MemoryBudget
from workers.engine.memory.versions import Versions
from workers.engine.supervision import persistently
from workers.engine.telemetry.celery_events import CeleryEventBuffer
from workers.engine.telemetry.counters import EngineCounters
from workers.hosts.processes import MemoryUsage
from workers.hosts.worker_side.launcher import HostLauncher
from workers.hosts.worker_side.load_turns import LoadTurns
from workers.platform.redis.client import refuses_for_good
from workers.settings import WorkerSettings

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass
class Context:
    """The shared services of one engine; belongs to its event loop."""

    worker_name: str
    settings: WorkerSettings
    records: Redis
    intake: Intake
    event_buffer: CeleryEventBuffer
    launcher: HostLauncher
    artifacts: ArtifactCache
    environments: Environments
    #: Whether `celery control revoke` has revoked a job.
    is_revoked: Callable[[str], bool]
    counters: EngineCounters
    #: Who may have how much memory; without a limit by default.
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    #: How many hosts may load at once.
    load_turns: LoadTurns = field(default_factory=LoadTurns)
    #: Returns what a process and its descendants use; by default nothing is measured.
    measure_memory: Callable[[int], MemoryUsage] = lambda _pid: MemoryUsage(0, 0)
    #: Which host has which share of a GPU; by default the worker has none.
    gpus: GpuShares = field(default_factory=GpuShares)
    #: Set when the report has to be written again.
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    #: Permanent errors of Redis, by endpoint and by the failing step.
    troubles: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Endings that are written in the next turn of the event loop, by the `id` of their deployment (`serving.finish`).
    pending_endings: dict[int, list[Any]] = field(default_factory=dict)
    #: Counts of trials that are written soon, by the id of the trial (`serving.arm_counts`).
    arm_counts: dict[str, Counter[str]] = field(default_factory=dict)
    _background: set[asyncio.Task[None]] = field(default_factory=set)
    #: What was measured of versions.
    versions: Versions = field(init=False)

    def __post_init__(self) -> None:
        self.versions = Versions(self.records)

    def in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine in the background; `settle` waits for it at the end."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)
        return task

    async def give_back(self, jobs: Iterable[QueuedJob]) -> None:
        """Put jobs back into their queues; those that are claimed are queued again."""
        jobs = list(jobs)
        tags = [job.tag for job in jobs]
        await self.release(jobs)
        await persistently("give back jobs", lambda: self.intake.give_back(tags))

    async def release(self, jobs: Iterable[QueuedJob]) -> None:
        """Take back the claims that were made when jobs were fetched; the jobs are queued again and have no attempt."""
        jobs = list(jobs)
        await persistently("release claimed jobs", lambda: release_claims(self.records, self.worker_name, jobs))

    def trouble(self, endpoint_name: str, what: str, why: str | None) -> None:
        """Show in the endpoint's status that a step fails, or with None that it works again."""
        of_endpoint = self.troubles.setdefault(endpoint_name, {})
        if of_endpoint.get(what) == why:
            return
        self.changed.set()
        if why is None:
            del of_endpoint[what]
            return
        of_endpoint[what] = why
        _log.error("failed to %s of %s: %s", what, endpoint_name, why, extra={"endpoint_name": endpoint_name})

    async def for_endpoint(self, endpoint_name: str, what: str, call: Callable[[], Awaitable[_Result]]) -> _Result:
        """Call `persistently`, and show permanent errors of Redis as the endpoint's trouble until it succeeds."""

        async def reported() -> _Result:
            try:
                return await call()
            except RedisError as error:
                if refuses_for_good(error):
                    self.trouble(endpoint_name, what, str(error))
                raise

        result = await persistently(what, reported)
        self.trouble(endpoint_name, what, None)
        return result

    async def settle(self) -> None:
        """Wait for all background tasks."""
        while self._background:
            await asyncio.wait(self._background)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("unexpected error in a background task of the engine", exc_info=error)
