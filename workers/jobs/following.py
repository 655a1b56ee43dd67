"""Follows jobs: a follower receives each change of one job; one read serves all followers of this process.

The end of a job is published, as for waiting requests (`waiting`). Its start and its queue position are not, so that
jobs without followers cost nothing: they are read twice a second. A ticket lets its holder follow one job.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import cast

from workers import keys
from workers.errors import QueueUnavailable
from workers.jobs import query, transitions, waiting
from workers.jobs.query import JobView
from workers.jobs.waiting import Waiter, Watch
from workers.platform.redis_client import records_client, translated_errors

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

    def __init__(self, watch: Watch, job: JobView) -> None:
        self.job: JobView | None = job
        self._watch = watch
        self._told_at = time.monotonic()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the job has changed, or this process is about to end, or for `timeout_s`: then False."""
        heard = self._watch.done.wait(timeout_s)
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
            [job] = query.placed([query.get(job_id, owner)])
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
                found = transitions.read(some)
            read = {job_id: query.parse_if_readable(job_id, record) for job_id, record in zip(some, found, strict=True)}
            placed = {job.job_id: job for job in query.placed([job for job in read.values() if job is not None])}
            for job_id, job in read.items():
                # Of those that have ended the waiter tells.
                if job is None or not job.state.terminal:
                    for follower in followed[job_id]:
                        follower.see(placed.get(job_id))


@lru_cache(maxsize=1)
def default_following() -> Following:
    """Return this process's."""
    return Following(waiting.default_waiter())


_BYTES = 32


def make_ticket(job_id: str, lives_s: float) -> str:
    """Return a new ticket for a job.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    ticket = secrets.token_urlsafe(_BYTES)
    with translated_errors():
        records_client().set(_key(ticket), job_id, px=round(lives_s * 1000))
    return ticket


def job_of_ticket(ticket: str) -> str | None:
    """Return the job that a ticket is for, None if it is unknown or its time is over.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        found = cast("bytes | None", records_client().get(_key(ticket)))
    return None if found is None else found.decode()


def _key(ticket: str) -> str:
    return keys.ticket(hashlib.sha256(ticket.encode(errors="surrogatepass")).hexdigest())
