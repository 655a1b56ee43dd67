"""What the parts of one worker's engine share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis import RedisError
from redis.asyncio import Redis

from registry.artifacts import ArtifactCache
from workers.engine.events import Outbox
from workers.engine.measures import Measures
from workers.engine.messages import QueuedJob
from workers.engine.taking import Intake
from workers.hosts.launcher import HostLauncher
from workers.settings import WorkerSettings

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
_CANCEL_AGAIN_S = 0.1


@dataclass
class Context:
    """One for each engine; belongs to its event loop."""

    worker_name: str
    settings: WorkerSettings
    records: Redis
    intake: Intake
    outbox: Outbox
    launcher: HostLauncher
    artifacts: ArtifactCache
    #: Tells of a job id whether `celery control revoke` named it.
    is_revoked: Callable[[str], bool]
    measures: Measures
    #: Something that the report shows has changed.
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    def in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that nobody waits for now; `settle` waits for it at the end."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)
        return task

    async def give_back(self, jobs: Iterable[QueuedJob]) -> None:
        """Put jobs back into their queues."""
        tags = [job.tag for job in jobs]
        await persistently("give back jobs", lambda: self.intake.give_back(tags))

    async def settle(self) -> None:
        """Wait for everything in the background."""
        while self._background:
            await asyncio.wait(self._background)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("a step of the engine failed", exc_info=error)


async def cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: redis-py sends under `asyncio.wait_for`, which up to Python 3.11 forgets a
    cancellation that comes just when the sending is done.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)


async def persistently(what: str, call: Callable[[], Awaitable[_Result]]) -> _Result:
    """Do something with Redis until it is done, however long Redis is away."""
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return await call()
        except (RedisError, OSError) as error:
            _log.warning("can't %s (%s); trying again", what, error)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
