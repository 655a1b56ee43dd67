"""Waiting for jobs: one subscription wakes all that wait in this process.

Whoever ends jobs publishes their ids, a batch in one message. A watch stands before its job is looked
at, so that an end is seen in the record, or heard of, or both. What is published while the connection is
lost is looked for once it is back, and a look each second makes up for whatever else is missed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import redis
from redis.client import PubSub

from workers import keys
from workers.errors import QueueUnavailable
from workers.jobs import query, records, transitions
from workers.jobs.query import JobView
from workers.platform.redis_client import records_client, translated_errors

_log = logging.getLogger(__name__)

#: How often what has been waited for this long already is looked for without having been heard of.
_LOOK_S = 1.0
#: Silence after which the connection is asked whether it lives, and once more after which it is given up.
_SILENCE_S = 10.0
_PAUSE_S = 0.5
_MGET_LIMIT = 500


class Watch:
    """One caller that waits for one job."""

    __slots__ = ("_waiter", "began", "done", "job_id", "keeps_record", "record", "submitted")

    def __init__(self, waiter: Waiter, job_id: str, *, keeps_record: bool = True) -> None:
        self._waiter = waiter
        self.job_id = job_id
        #: Whether the record that ended the wait is wanted too.
        self.keeps_record = keeps_record
        self.began = time.monotonic()
        self.done = threading.Event()
        self.record: bytes | None = None
        #: Whether there is, or was, such a job.
        self.submitted = False

    def wait(self, timeout_s: float) -> JobView:
        """Return the job as soon as it has ended, or as it stands after `timeout_s`.

        Raises:
            JobNotFound: the id is unknown.
            JobUnreadable: another program has written its record.
            QueueUnavailable: Redis can't be reached at the end of the wait.
        """
        self.submitted = True
        if timeout_s > 0:
            self._waiter.listen()
            self.done.wait(timeout_s)
        # Parsed here, and not by the thread that all others wait for.
        return query.get(self.job_id) if self.record is None else query.parse(self.job_id, self.record)


class Waiter:
    """Wakes every caller when its job has ended; safe to use from many threads."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._released = False
        self._next_look = 0.0
        #: Whether it hears of ended jobs, and has looked for those that ended before it did.
        self.listening = False

    @contextmanager
    def watching(self, job_id: str, *, keeps_record: bool = True) -> Iterator[Watch]:
        """Yield a watch that misses no end from now on, also of a job that is still to be submitted."""
        watch = Watch(self, job_id, keeps_record=keeps_record)
        with self._lock:
            self._watches.setdefault(job_id, set()).add(watch)
        if self._released:
            watch.done.set()
        try:
            yield watch
        finally:
            self._forget(watch)

    def wait(self, job_id: str, timeout_s: float, owner: str | None = None) -> JobView:
        """Return the job as soon as it has ended, or as it stands after `timeout_s`; with an `owner`, one of theirs.

        Raises:
            JobNotFound: the id is unknown, or somebody else's.
            JobUnreadable: another program has written its record.
            QueueUnavailable: Redis can't be reached, at the beginning or at the end of the wait.
        """
        with self.watching(job_id) as watch:
            job = query.get(job_id, owner)
            return job if job.state.terminal or timeout_s <= 0 else watch.wait(timeout_s)

    def wait_for_all(self, job_ids: Sequence[str], timeout_s: float) -> None:
        """Return as soon as all these jobs have ended (an unknown one has), or after `timeout_s`.

        Raises:
            QueueUnavailable: Redis can't be reached at the beginning of the wait.
        """
        ends_at = time.monotonic() + timeout_s
        with ExitStack() as watching:
            watches = [watching.enter_context(self.watching(each, keeps_record=False)) for each in job_ids]
            for watch in watches:
                watch.submitted = True
            self._wake_ended(job_ids)
            if not all(watch.done.is_set() for watch in watches):
                self.listen()
            for watch in watches:
                watch.done.wait(max(0.0, ends_at - time.monotonic()))

    def release(self) -> None:
        """End every wait, now and from now on: this process is about to end. Safe in a signal handler."""
        self._released = True
        for watches in list(self._watches.values()):
            for watch in list(watches):
                watch.done.set()

    def listen(self) -> None:
        """Have the thread that hears of ended jobs run."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="queuecast-waiter", daemon=True)
                self._thread.start()

    def _forget(self, watch: Watch) -> None:
        with self._lock:
            watches = self._watches.get(watch.job_id, set())
            watches.discard(watch)
            if not watches:
                self._watches.pop(watch.job_id, None)

    def _run(self) -> None:
        while not self._released:
            try:
                with closing(records_client().pubsub()) as subscription:  # type: ignore[no-untyped-call]
                    self._listen(subscription)
            except (redis.RedisError, OSError) as error:
                # The callers go on waiting: Redis may be back before their time is over.
                level = logging.WARNING if self._watches else logging.DEBUG
                _log.log(
                    level, "not hearing of the ends of %d awaited jobs (%s); trying again", len(self._watches), error
                )
                time.sleep(_PAUSE_S)

    def _listen(self, subscription: PubSub) -> None:
        subscription.subscribe(keys.ENDED_CHANNEL)
        heard_at, asked = time.monotonic(), False
        while not self._released:
            message = subscription.get_message(timeout=_LOOK_S)
            now = time.monotonic()
            if message is not None:
                heard_at, asked = now, False
                self._heard(message)
            elif now - heard_at > _SILENCE_S:
                if asked:
                    raise redis.ConnectionError("Redis does not answer")
                subscription.ping()
                heard_at, asked = now, True
            self._look_regularly(now)

    def _heard(self, message: dict[str, Any]) -> None:
        if message["type"] == "message":
            ids = message["data"].decode(errors="replace").split(keys.ENDED_SEPARATOR)
            self._look([job_id for job_id in ids if job_id in self._watches])
        elif message["type"] == "subscribe":
            # Also after a connection that was lost: what was published before has to be looked for.
            self._look(list(self._watches))
            self.listening = True

    def _look_regularly(self, now: float) -> None:
        if now >= self._next_look:
            self._next_look = now + _LOOK_S
            self._look([job_id for job_id, each in list(self._watches.items()) if _is_old(each, now)])

    def _look(self, job_ids: list[str]) -> None:
        try:
            self._wake_ended(job_ids)
        except QueueUnavailable as error:
            _log.warning("can't look for %d awaited jobs: %s", len(job_ids), error)

    def _wake_ended(self, job_ids: Sequence[str]) -> None:
        for start in range(0, len(job_ids), _MGET_LIMIT):
            some = job_ids[start : start + _MGET_LIMIT]
            with translated_errors():
                found = transitions.read(some)
            for job_id, record in zip(some, found, strict=True):
                if record is None or records.is_terminal(record):
                    self._wake(job_id, record)

    def _wake(self, job_id: str, record: bytes | None) -> None:
        for watch in list(self._watches.get(job_id, ())):
            # A record that is gone by now ends the wait too: the caller's last look says so.
            if record is not None or watch.submitted:
                watch.record = record if watch.keeps_record else None
                watch.done.set()


def _is_old(watches: Iterable[Watch], now: float) -> bool:
    return any(now - watch.began > _LOOK_S for watch in list(watches))


@lru_cache(maxsize=1)
def default_waiter() -> Waiter:
    """Return this process's waiter."""
    return Waiter()


#: More are refused: they are looked up one page after the other, while the caller waits.
MAX_JOBS = 1_000
#: Records that are read before more are left for another call; outcomes can be long.
MAX_BYTES = 8_000_000
_PAGE = 100


@dataclass
class Found:
    """What a look-up has found, in the order in which it was asked for."""

    jobs: list[JobView] = field(default_factory=list)
    #: Never submitted, or their records have expired.
    unknown_job_ids: list[str] = field(default_factory=list)
    #: Not looked at: there is enough in this answer.
    left_job_ids: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return what was found as the HTTP API shows it."""
        return {
            "jobs": [job.document() for job in self.jobs],
            "unknown_job_ids": self.unknown_job_ids,
            "left_job_ids": self.left_job_ids,
        }


def look_up(job_ids: Sequence[str], wait_s: float = 0, owner: str | None = None) -> Found:
    """Return these jobs as soon as all have ended, or as they stand after `wait_s`; with an `owner`, theirs alone.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    ids = list(dict.fromkeys(job_ids))
    if wait_s > 0:
        # The ends of other clients' jobs are not shown.
        theirs = ids if owner is None else [job.job_id for job in _read(ids, owner).jobs]
        default_waiter().wait_for_all(theirs, wait_s)
    found = _read(ids, owner)
    found.jobs = query.placed(found.jobs)
    return found


def _read(ids: list[str], owner: str | None) -> Found:
    found, left_bytes, start = Found(), MAX_BYTES, 0
    while start < len(ids):
        if left_bytes <= 0:
            found.left_job_ids = ids[start:]
            break
        with translated_errors():
            read = query.some([keys.record(each) for each in ids[start : start + _PAGE]], left_bytes)
        left_bytes -= sum(len(record) for record in read if record is not None)
        page = ids[start : start + len(read)]
        start += len(read)
        for job_id, record in zip(page, read, strict=True):
            job = None if record is None else query.shown(job_id, record)
            if job is None or not query.is_of(owner, job):
                found.unknown_job_ids.append(job_id)
            else:
                found.jobs.append(job)
    return found
