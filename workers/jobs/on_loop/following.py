"""Follows jobs on an event loop: a follower receives each change of one job; one read serves all followers.

The end of a job is published, as for waiting requests (`waits`). Its start and its queue position are not, so that jobs
without followers cost nothing: they are read twice a second, or less often if there are thousands of them. A record
that has not changed since the last look is not parsed again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
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
#: With more followed jobs than half of these, looks are further apart, so that they take a bounded share of the loop.
_LOOKED_AT_PER_S = 5_000
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
        if _is_same(job, self.job):
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
        #: What the last look has read: records, and what they say, without places.
        self._read: dict[str, tuple[bytes | None, JobView | None]] = {}
        self._reachable = True

    @asynccontextmanager
    async def following(self, job_id: str, owner: str | None = None) -> AsyncIterator[Follower]:
        """Yield a follower of a job, which misses no change from now on; with an `owner`, of one of theirs.

        Raises:
            JobNotFound: the id is unknown, or somebody else's.
            QueueUnavailable: Redis can't be reached.
        """
        with self._waits.watching(job_id, is_looked_for=False) as watch:
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
            await asyncio.sleep(max(_LOOK_S, len(followed) / _LOOKED_AT_PER_S))
        self._read.clear()
        self._looking = None

    async def _look(self, followed: Mapping[str, list[Follower]]) -> None:
        ids = list(followed)
        with translated_errors():
            found = await self._reads.records(ids)
        read = {}
        for number, (job_id, record) in enumerate(zip(ids, found, strict=True)):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # others are answered meanwhile
            read[job_id] = record, self._parsed(job_id, record)
        self._read = read
        for start in range(0, len(ids), _AT_ONCE):
            await self._show(ids[start : start + _AT_ONCE], followed)

    def _parsed(self, job_id: str, record: bytes | None) -> JobView | None:
        before = self._read.get(job_id)
        if before is not None and before[0] == record:
            return before[1]
        return query.parse_if_readable(job_id, record)

    async def _show(self, job_ids: Sequence[str], followed: Mapping[str, list[Follower]]) -> None:
        jobs = [job for each in job_ids if (job := self._read[each][1]) is not None]
        positioned_of = {job.job_id: job for job in await self._reads.with_positions(jobs)}
        for job_id in job_ids:
            record, job = self._read[job_id]
            if job is None or not job.state.terminal:
                for follower in followed[job_id]:
                    follower.see(positioned_of.get(job_id))
            else:
                del self._read[job_id]  # it may be long
                self._waits.saw(job_id, record)


def _is_same(job: JobView | None, other: JobView | None) -> bool:
    """Tell whether two views of a job are shown the same."""
    return job is not None and other is not None and job == other and _position_of(job) == _position_of(other)


def _position_of(job: JobView) -> tuple[object, ...] | None:
    found = job.queue_position
    return None if found is None else (found.position, found.estimated_wait_s, found.reason)
