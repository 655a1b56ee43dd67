"""Follows jobs on an event loop: a follower receives each change of one job; one read serves all followers.

The end of a job is published, as for waiting requests (`waits`). Its start and its queue position are not, so that jobs
without followers cost nothing: they are read twice a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import Context

from workers.errors import QueueUnavailable
from workers.jobs import query
from workers.jobs.on_loop.reads import Reads
from workers.jobs.on_loop.waits import Waits, Watch
from workers.jobs.query import JobView
from workers.platform.redis.client import translated_errors

_log = logging.getLogger(__name__)

_LOOK_S = 0.5
#: How often a follower is told of what has changed while the state is the same.
_SAME_STATE_S = 1.0
#: Jobs that are parsed or compared without a pause.
_AT_ONCE = 100


class Follower:
    """One caller that follows one job.

    Attributes:
        job: as it stood last; None once its record has expired, or can't be read.
    """

    def __init__(self, watch: Watch, job: JobView) -> None:
        self.job: JobView | None = job
        self._watch = watch
        self._told_at = time.monotonic()

    async def wait(self, timeout_s: float) -> bool:
        """Wait until the job has changed, or this process is about to end, or for `timeout_s`: then False."""
        heard = await self._watch.until(timeout_s)
        # What is set after this line wakes the next wait.
        self._watch.done.clear()
        if self._watch.record is not None:
            self.job = query.parse_if_readable(self._watch.job_id, self._watch.record)
        return heard

    def see(self, job: JobView | None) -> None:
        """Take note of a job that has not ended, or is gone; wakes who waits if that is news."""
        # As it is shown: jobs that differ in their places alone are equal.
        if job is not None and self.job is not None and job.document() == self.job.document():
            return
        now = time.monotonic()
        same_state = job is not None and self.job is not None and job.state is self.job.state
        if same_state and now - self._told_at < _SAME_STATE_S:
            return
        self.job, self._told_at = job, now
        self._watch.done.set()


class Following:
    """Looks for changes of all jobs that are followed in this process; its methods are called on one event loop."""

    def __init__(self, waits: Waits, reads: Reads) -> None:
        self._waits = waits
        self._reads = reads
        self._followers: dict[str, set[Follower]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._reachable = True

    @asynccontextmanager
    async def following(self, job_id: str, owner: str | None = None) -> AsyncIterator[Follower]:
        """Yield a follower of a job, which misses no change from now on; with an `owner`, of one of theirs.

        Raises:
            JobNotFound: the id is unknown, or somebody else's.
            QueueUnavailable: Redis can't be reached.
        """
        with self._waits.watching(job_id) as watch:
            [job] = await self._reads.with_positions([await self._reads.get(job_id, owner)])
            follower = Follower(watch, job)
            self._waits.listen()
            self._add(job_id, follower)
            try:
                yield follower
            finally:
                self._forget(job_id, follower)

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def _add(self, job_id: str, follower: Follower) -> None:
        self._followers.setdefault(job_id, set()).add(follower)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._run(), context=Context())

    def _forget(self, job_id: str, follower: Follower) -> None:
        followers = self._followers[job_id]
        followers.discard(follower)
        if not followers:
            del self._followers[job_id]

    async def _run(self) -> None:
        while self._followers:
            followed = {job_id: list(followers) for job_id, followers in self._followers.items()}
            try:
                await self._look(followed)
            except QueueUnavailable as error:
                # The followers go on: Redis may be back before they leave.
                if self._reachable:
                    _log.warning("can't look for %d followed jobs: %s", len(followed), error)
                self._reachable = False
            except Exception:  # noqa: BLE001 - the next look may do what this one could not
                _log.exception("can't look for %d followed jobs", len(followed))
            else:
                self._reachable = True
            await asyncio.sleep(_LOOK_S)
        self._looking = None

    async def _look(self, followed: Mapping[str, list[Follower]]) -> None:
        ids = list(followed)
        with translated_errors():
            found = await self._reads.records(ids)
        read: dict[str, JobView | None] = {}
        for number, (job_id, record) in enumerate(zip(ids, found, strict=True)):
            read[job_id] = query.parse_if_readable(job_id, record)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # others are answered meanwhile
        positioned = await self._reads.with_positions([job for job in read.values() if job is not None])
        positioned_of = {job.job_id: job for job in positioned}
        for number, (job_id, job) in enumerate(read.items()):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            # Of those that have ended the waits tell.
            if job is None or not job.state.terminal:
                for follower in followed[job_id]:
                    follower.see(positioned_of.get(job_id))
