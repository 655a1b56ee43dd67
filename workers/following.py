"""Following jobs: each follower learns of every change of one job, by one look for all of them in this process.

The end of a job is heard of, as by those who wait for it (`waiting`). That it runs is published nowhere, so that it
costs nothing where nobody follows: it is looked for, as is the place in the queue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

from workers import jobs, records, waiting
from workers.errors import QueueUnavailable
from workers.jobs import Job
from workers.redis_client import translated_errors
from workers.waiting import Waiter, Watch

_log = logging.getLogger(__name__)

_LOOK_S = 0.5
#: How often a follower is told of what has changed while the state is the same.
_SAME_STATE_S = 1.0
_MGET_LIMIT = 500


class Follower:
    """One caller that follows one job.

    Attributes:
        job: as it stood last; None once its record has expired, or can't be read.
    """

    def __init__(self, watch: Watch, job: Job) -> None:
        self.job: Job | None = job
        self._watch = watch
        self._told_at = time.monotonic()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the job has changed, or this process is about to end, or for `timeout_s`: then False."""
        heard = self._watch.done.wait(timeout_s)
        # What is set after this line wakes the next wait.
        self._watch.done.clear()
        if self._watch.record is not None:
            self.job = jobs.parse(self._watch.job_id, self._watch.record)
        return heard

    def see(self, job: Job | None) -> None:
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
    """Looks for changes of all jobs that are followed in this process; safe to use from many threads."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter
        self._followers: dict[str, set[Follower]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._reachable = True

    @contextmanager
    def following(self, job_id: str, owner: str | None = None) -> Iterator[Follower]:
        """Yield a follower of a job, which misses no change from now on; with an `owner`, of one of theirs.

        Raises:
            JobNotFound: the id is unknown, or somebody else's.
            QueueUnavailable: Redis can't be reached.
        """
        with self._waiter.watching(job_id) as watch:
            [job] = jobs.placed([jobs.get(job_id, owner)])
            follower = Follower(watch, job)
            self._waiter.listen()
            self._add(job_id, follower)
            try:
                yield follower
            finally:
                self._forget(job_id, follower)

    def _add(self, job_id: str, follower: Follower) -> None:
        with self._lock:
            self._followers.setdefault(job_id, set()).add(follower)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="queuecast-following", daemon=True)
                self._thread.start()

    def _forget(self, job_id: str, follower: Follower) -> None:
        with self._lock:
            followers = self._followers[job_id]
            followers.discard(follower)
            if not followers:
                del self._followers[job_id]

    def _run(self) -> None:
        while followed := self._followed():
            try:
                self._look(followed)
            except QueueUnavailable as error:
                # The followers go on: Redis may be back before they leave.
                if self._reachable:
                    _log.warning("can't look for %d followed jobs: %s", len(followed), error)
                self._reachable = False
            except Exception:  # noqa: BLE001 - the next look may do what this one could not
                _log.exception("can't look for %d followed jobs", len(followed))
            else:
                self._reachable = True
            time.sleep(_LOOK_S)

    def _followed(self) -> dict[str, list[Follower]]:
        """Return who follows what; the thread that gets nothing is to end."""
        with self._lock:
            if not self._followers:
                self._thread = None
            return {job_id: list(followers) for job_id, followers in self._followers.items()}

    def _look(self, followed: Mapping[str, list[Follower]]) -> None:
        ids = list(followed)
        for start in range(0, len(ids), _MGET_LIMIT):
            some = ids[start : start + _MGET_LIMIT]
            with translated_errors():
                found = records.read(some)
            read = {job_id: jobs.parse_if_readable(job_id, record) for job_id, record in zip(some, found, strict=True)}
            placed = {job.job_id: job for job in jobs.placed([job for job in read.values() if job is not None])}
            for job_id, job in read.items():
                # Of those that have ended the waiter tells.
                if job is None or not job.state.terminal:
                    for follower in followed[job_id]:
                        follower.see(placed.get(job_id))


@lru_cache(maxsize=1)
def default_following() -> Following:
    """Return this process's."""
    return Following(waiting.default_waiter())
