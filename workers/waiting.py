"""Waiting for jobs: one thread looks for all that wait in this process.

Polling with one MGET holds through restarts of Redis, where subscriptions would be lost without a
word, and costs the same for one waiting client as for hundreds.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import lru_cache

from workers import documents, jobs, records
from workers.errors import QueueUnavailable
from workers.jobs import Job
from workers.redis_client import translated_errors

_log = logging.getLogger(__name__)

FIRST_LOOK_S = 0.002
LAST_LOOK_S = 0.05
#: A job that has been waited for this long is looked for a tenth as often as it was waited for.
_PATIENCE = 0.1
_MGET_LIMIT = 500


class _Watch:
    """One waiting caller."""

    __slots__ = ("began", "done", "due", "job_id", "record")

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.began = time.monotonic()
        self.due = self.began + FIRST_LOOK_S
        self.done = threading.Event()
        self.record: bytes | None = None

    def looked_at(self, now: float) -> None:
        self.due = now + min(max((now - self.began) * _PATIENCE, FIRST_LOOK_S), LAST_LOOK_S)


class Waiter:
    """Wakes every caller of `wait` when its job has ended; safe to use from many threads."""

    def __init__(self) -> None:
        self._watches: set[_Watch] = set()
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._released = False

    def wait(self, job_id: str, timeout_s: float) -> Job:
        """Return the job as soon as it has ended, or as it stands after `timeout_s`.

        Raises:
            JobNotFound: the id is unknown.
            QueueUnavailable: Redis can't be reached, at the beginning or at the end of the wait.
        """
        job = jobs.get(job_id)
        if job.state.terminal or timeout_s <= 0 or self._released:
            return job
        watch = _Watch(job_id)
        self._add(watch)
        try:
            watch.done.wait(timeout_s)
        finally:
            with self._lock:
                self._watches.discard(watch)
        # Parsed here, and not by the thread that all others wait for.
        return jobs.get(job_id) if watch.record is None else jobs.parse(job_id, watch.record)

    def release(self) -> None:
        """End every wait, now and from now on: this process is about to end. Safe in a signal handler."""
        self._released = True
        for watch in list(self._watches):
            watch.done.set()

    def _add(self, watch: _Watch) -> None:
        with self._lock:
            self._watches.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="queuecast-waiter", daemon=True)
                self._thread.start()
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            while pause_s := self._look():
                self._wanted.wait(pause_s)
                self._wanted.clear()

    def _look(self) -> float:
        """Look for the jobs that are due; return the seconds to the next look, 0 if nobody waits."""
        now = time.monotonic()
        with self._lock:
            due = [watch for watch in self._watches if watch.due <= now][:_MGET_LIMIT]
        try:
            with translated_errors():
                self._wake(due, records.read([watch.job_id for watch in due]))
        except QueueUnavailable as error:
            # The callers go on waiting: Redis may be back before their time is over.
            _log.warning("can't look for %d awaited jobs: %s", len(due), error)
        now = time.monotonic()
        for watch in due:
            watch.looked_at(now)
        with self._lock:
            if not self._watches:
                return 0
            return max(min(watch.due for watch in self._watches) - now, FIRST_LOOK_S / 2)

    def _wake(self, watches: list[_Watch], found: list[bytes | None]) -> None:
        for watch, record in zip(watches, found, strict=True):
            if record is not None and not documents.is_terminal(record):
                continue
            # A record that is gone by now ends the wait too: the caller's last look says so.
            watch.record = record
            watch.done.set()
            with self._lock:
                self._watches.discard(watch)


@lru_cache(maxsize=1)
def default_waiter() -> Waiter:
    """Return this process's waiter."""
    return Waiter()
