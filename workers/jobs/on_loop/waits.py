"""Waiting for jobs on an event loop: one subscription wakes all that wait in this process.

What ends jobs publishes their ids, a batch in one message, and short records with them. A watch stands before its job
is looked at, so that an end is seen in the record, or heard of, or both. What is published while the connection is lost
is looked for once it is back, and a look each second at up to 2,000 jobs makes up for whatever else is missed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import Context

import redis

from workers import keys
from workers.jobs import query, records
from workers.jobs.on_loop.reads import Reads
from workers.jobs.query import JobView
from workers.platform.loops.blocking import beside
from workers.platform.redis.async_client import Client
from workers.platform.redis.subscription import Subscription

_log = logging.getLogger(__name__)

#: How often what has been waited for this long already is looked for without having been heard of.
_LOOK_S = 1.0
#: The most that are looked for at once: with more, a look at each takes several seconds, and submits don't notice.
_MOST_LOOKED_FOR = 2_000
#: Silence after which the connection is asked whether it lives, and once more after which it is given up.
_SILENCE_S = 10.0
_PAUSE_S = 0.5
#: Look-ups of many jobs wait only as long as there are no more than these.
MOST_AWAITED = 50_000
_SEPARATOR = keys.ENDED_SEPARATOR.encode()
#: The errors of a connection that is lost; the engine's kind of client raises the last one too.
_LOST = (redis.RedisError, OSError, TimeoutError)


class Watch:
    """One caller that waits for one job."""

    __slots__ = ("_waits", "began", "done", "is_looked_for", "job_id", "keeps_record", "record", "submitted")

    def __init__(self, waits: Waits, job_id: str, *, keeps_record: bool, is_looked_for: bool) -> None:
        self._waits = waits
        self.job_id = job_id
        #: Whether the record that ended the wait is wanted too.
        self.keeps_record = keeps_record
        #: Whether its job is looked for regularly; if not, the caller passes on what it reads (`Waits.saw`).
        self.is_looked_for = is_looked_for
        self.began = time.monotonic()
        self.done = asyncio.Event()
        self.record: bytes | None = None
        #: Whether there is, or was, such a job.
        self.submitted = False

    async def wait(self, timeout_s: float) -> JobView:
        """Return the job as soon as it has ended, or as it stands after `timeout_s`.

        Raises:
            JobNotFound: the id is unknown.
            JobUnreadable: another program has written its record.
            QueueUnavailable: Redis can't be reached at the end of the wait.
        """
        self.submitted = True
        if timeout_s > 0:
            self._waits.listen()
            await self.until(timeout_s)
        if self.record is None:
            return await self._waits.reads.get(self.job_id)
        return await beside(len(self.record), query.parse, self.job_id, self.record)

    async def until(self, timeout_s: float) -> bool:
        """Wait until it is woken; tell whether it was within `timeout_s`."""
        if not self.done.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, timeout_s)):
                    await self.done.wait()
        return self.done.is_set()


class Waits:
    """Wakes every caller when its job has ended; its methods are called on one event loop."""

    def __init__(self, client: Client, reads: Reads) -> None:
        self._client = client
        self.reads = reads
        self._watches: dict[str, set[Watch]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        #: At jobs that have ended, and whose records were not published with their ids.
        self._looks: set[asyncio.Task[None]] = set()
        self._released = False
        self._next_look = 0.0
        #: What is left of a round of regular looks.
        self._looked_for_next: deque[str] = deque()
        #: Whether it hears of ended jobs, and has looked for those that ended before it did.
        self.is_listening = False

    @contextmanager
    def watching(self, job_id: str, *, keeps_record: bool = True, is_looked_for: bool = True) -> Iterator[Watch]:
        """Yield a watch that misses no end from now on, also of a job that is still to be submitted."""
        watch = Watch(self, job_id, keeps_record=keeps_record, is_looked_for=is_looked_for)
        self._watches.setdefault(job_id, set()).add(watch)
        if self._released:
            watch.done.set()
        try:
            yield watch
        finally:
            self._forget(watch)

    async def wait(self, job_id: str, timeout_s: float, owner: str | None = None) -> JobView:
        """Return the job as soon as it has ended, or as it stands after `timeout_s`; with an `owner`, one of theirs.

        Raises:
            JobNotFound: the id is unknown, or somebody else's.
            JobUnreadable: another program has written its record.
            QueueUnavailable: Redis can't be reached, at the beginning or at the end of the wait.
        """
        if timeout_s <= 0:
            return await self.reads.get(job_id, owner)
        with self.watching(job_id) as watch:
            job = await self.reads.get(job_id, owner)
            return job if job.state.terminal else await watch.wait(timeout_s)

    def has_room(self, count: int) -> bool:
        """Tell whether so many more jobs may be waited for: each takes memory, and is looked for once a second."""
        return len(self._watches) + count <= MOST_AWAITED

    async def wait_for_all(self, job_ids: Sequence[str], timeout_s: float) -> None:
        """Return as soon as all these jobs have ended (an unknown one has), or after `timeout_s`.

        Raises:
            redis.RedisError: Redis can't be reached at the beginning of the wait.
        """
        ends_at = time.monotonic() + timeout_s
        with ExitStack() as watching:
            watches = [watching.enter_context(self.watching(each, keeps_record=False)) for each in job_ids]
            for watch in watches:
                watch.submitted = True
            await self._wake_ended(job_ids)
            if not all(watch.done.is_set() for watch in watches):
                self.listen()
            for watch in watches:
                await watch.until(ends_at - time.monotonic())

    def release(self) -> None:
        """End every wait, now and from now on: this process is about to end."""
        self._released = True
        for watches in self._watches.values():
            for watch in watches:
                watch.done.set()

    async def close(self) -> None:
        """Stop listening."""
        self.release()
        tasks = [task for task in (self._listening, self._looking, *self._looks) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def listen(self) -> None:
        """Have the task that hears of ended jobs run."""
        if self._listening is None:
            # Not in the context of the request that came first: log lines would be about that one.
            self._listening = asyncio.get_running_loop().create_task(self._run(), context=Context())

    def _forget(self, watch: Watch) -> None:
        watches = self._watches.get(watch.job_id, set())
        watches.discard(watch)
        if not watches:
            self._watches.pop(watch.job_id, None)

    async def _run(self) -> None:
        while not self._released:
            try:
                await self._listen()
            except _LOST as error:
                # The callers go on waiting: Redis may be back before their time is over.
                level = logging.WARNING if self._watches else logging.DEBUG
                _log.log(
                    level, "not hearing of the ends of %d awaited jobs (%s); trying again", len(self._watches), error
                )
                await asyncio.sleep(_PAUSE_S)
            except Exception:  # noqa: BLE001 - all that wait depend on it
                _log.exception("not hearing of the ends of %d awaited jobs; trying again", len(self._watches))
                await asyncio.sleep(_PAUSE_S)

    async def _listen(self) -> None:
        subscription = await self._client.subscribe(keys.ENDED_CHANNEL, self._heard)
        try:
            # Also after a connection that was lost: what was published before has to be looked for.
            await self._look(list(self._watches))
            self.is_listening = True
            await self._keep(subscription)
        finally:
            subscription.end()

    async def _keep(self, subscription: Subscription) -> None:
        """Look regularly, and ask whether a silent connection lives, until it is lost."""
        asked_at = 0.0
        while not self._released:
            await subscription.stay(_LOOK_S)
            now, heard_at = time.monotonic(), subscription.heard_at
            if now - max(heard_at, asked_at) > _SILENCE_S:
                if asked_at > heard_at:
                    raise redis.ConnectionError("Redis does not answer")
                subscription.ping()
                asked_at = now
            self._look_regularly(now)

    def _heard(self, published: bytes) -> None:
        if awaited := self._heard_of(published):
            look = asyncio.get_running_loop().create_task(self._look(awaited))
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)

    def _heard_of(self, published: bytes) -> list[str]:
        """Wake who waits for jobs whose records were published with their ids; return the other awaited jobs."""
        first, *others = published.split(_SEPARATOR)
        if first:
            ids, ended = [first, *others], []
        else:
            ids, ended = others[::2], others[1::2]
        awaited = [job_id for each in ids if (job_id := each.decode(errors="replace")) in self._watches]
        if not awaited or not ended:
            return awaited
        record_of = dict(zip(ids, ended, strict=False))
        for job_id in awaited:
            self.saw(job_id, record_of.get(job_id.encode(), b""))
        return []

    def _look_regularly(self, now: float) -> None:
        """Look for what has been awaited for long, beside hearing of ends."""
        is_looking = self._looking is not None and not self._looking.done()
        if now >= self._next_look and not is_looking:
            self._next_look = now + _LOOK_S
            self._looking = asyncio.get_running_loop().create_task(self._look(self._next_looked_for(now)))

    def _next_looked_for(self, now: float) -> list[str]:
        """Return the next jobs in turn: each has one look before any has another."""
        if not self._looked_for_next:
            self._looked_for_next.extend(job_id for job_id, each in self._watches.items() if _is_due(each, now))
        count = min(len(self._looked_for_next), _MOST_LOOKED_FOR)
        return [self._looked_for_next.popleft() for _ in range(count)]

    async def _look(self, job_ids: Sequence[str]) -> None:
        try:
            await self._wake_ended(job_ids)
        except _LOST as error:
            _log.warning("can't look for %d awaited jobs: %s", len(job_ids), error)

    async def _wake_ended(self, job_ids: Sequence[str]) -> None:
        for job_id, record in zip(job_ids, await self.reads.records(job_ids), strict=True):
            self.saw(job_id, record)

    def saw(self, job_id: str, record: bytes | None) -> None:
        """Wake who waits for a job if this record, which has just been read, says that it has ended."""
        if record is None or records.is_terminal(record):
            self._wake(job_id, record)

    def _wake(self, job_id: str, record: bytes | None) -> None:
        for watch in self._watches.get(job_id, ()):
            # A record that is gone by now ends the wait too: the caller's last look says so.
            if record is not None or watch.submitted:
                watch.record = record if watch.keeps_record else None
                watch.done.set()


def _is_due(watches: Iterable[Watch], now: float) -> bool:
    return any(watch.is_looked_for and now - watch.began > _LOOK_S for watch in watches)
