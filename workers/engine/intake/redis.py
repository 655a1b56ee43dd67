"""Fetches jobs from queues in Redis, by the credit of each endpoint, and holds their leases.

Every endpoint has its own credit, so that a slow one with a long backlog never delays others. Redis notifies the worker
of queued jobs; a check each second covers missed notifications.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from redis import RedisError, ResponseError
from redis.asyncio import Redis

from workers.engine.intake.delays import Delays, early
from workers.engine.intake.leases import FETCHED_AT_ONCE_BYTES, Leased, Leases
from workers.engine.intake.listener import QueueListener
from workers.engine.intake.messages import MessageUnreadable, QueuedJob, keep_successors, release_claims
from workers.engine.intake.protocol import JobSink
from workers.engine.intake.reading import read_at_once, read_with_care
from workers.jobs.transitions import unclaim_fetched
from workers.queues import naming
from workers.queues.naming import LISTS, queue_name
from workers.queues.priorities import Priority
from workers.settings import load

_log = logging.getLogger(__name__)

#: Interval of checks of the queues without notifications.
_CHECK_S = 1.0
#: The same if Redis sends no notifications.
_POLL_S = 0.02
_PAUSE_S = 0.5
#: Redis's flags for keyspace notifications (K) of list commands (l).
_KEYSPACE_FLAGS = {"K", "l"}
#: Part of every notification.
_NOTIFICATION = b"pmessage"
#: Matches the endpoint and the priority in the notification of a push. Notifications of pops, as many, are of no use.
#: (Endpoint names contain neither colons nor control characters.)
_PUSHED = re.compile(rb"%b([^\r\n:*\x06]+)(:\w+)?[^\r\n]*\r\n\$\d+\r\n[lr]push" % re.escape(queue_name("").encode()))
_HIGH = queue_name("", Priority.HIGH).removeprefix(queue_name("")).encode()
_RENEWED_AT_ONCE = 1_000
_SUFFIXES = [suffix for priority in Priority for suffix in LISTS[priority]]


class RedisIntake:
    """The `Intake` of queues in Redis."""

    def __init__(
        self,
        client: Redis,
        sinks: Mapping[str, JobSink],
        lease_s: float,
        *,
        records: Redis | None = None,
        worker_name: str = "",
    ) -> None:
        """Use `client` for the queues, and `records` for the jobs' records if they are in another Redis.

        A worker with a name claims a job in the step that fetches it, if a host waits for it.
        """
        self.leases_are_beside_records = records is None
        self._worker_name = worker_name
        #: A signed message has to be read before its job is touched.
        self._claims = self.leases_are_beside_records and bool(worker_name) and not load().message_keys
        self._delays = Delays(records or client, leases_are_beside_records=records is None)
        self.leases = self.source = Leases(client, lease_s, records=records, worker_name=worker_name)
        self._client = client
        self._records = records or client
        self._sinks = sinks
        self._lease_s = lease_s
        self._check_s = _CHECK_S
        #: The held jobs by tag, in the order of their fetch.
        self._held: dict[str, QueuedJob] = {}
        #: Tags of leases that are being ended; only Redis's reply shows whether they have.
        self._ending: set[str] = set()
        #: Endpoints whose queues may have jobs.
        self._filled: set[str] = set()
        #: Endpoints whose high queue may have jobs, to be checked even without credit for others.
        self._urgent: set[str] = set()
        self._rung = asyncio.Event()
        #: Held during a fetch, so that `close` waits for its reply.
        self._fetching = asyncio.Lock()
        self._closed = False

    @property
    def held(self) -> list[str]:
        """The tags of all jobs that this worker holds, oldest first."""
        return list(self._held)

    def ring(self, endpoint_name: str) -> None:
        """Check this endpoint's queue soon: it has jobs, or the endpoint has credit."""
        self._filled.add(endpoint_name)
        self._rung.set()

    def made_room(self, endpoint_name: str) -> None:
        """Check the endpoint's queue, since it has more credit, if the last check left jobs there."""
        if endpoint_name in self._filled or endpoint_name in self._urgent:
            self._rung.set()

    @property
    def holder(self) -> str:
        """This worker's name in leases."""
        return self.leases.holder

    async def is_leased(self, tag: str) -> bool:
        """Whether a worker holds a lease on the message with this tag."""
        return await self.leases.is_leased(tag)

    def keeps(self, job: QueuedJob) -> bool:
        """Whether this worker still holds a waiting job: its lease was not lost, and it was not fetched again."""
        return self._held.get(job.tag) is job

    async def ack(self, jobs: Iterable[QueuedJob]) -> None:
        """End the leases of jobs that have terminal records."""
        tags = [job.tag for job in jobs]
        with self.ending(tags):
            await self.leases.ack(tags)

    @contextmanager
    def ending(self, tags: Sequence[str]) -> Iterator[None]:
        """Forget jobs whose leases end in the block, at its end."""
        self._ending.update(tags)
        try:
            yield
            self.let_go(tags)
        finally:
            self._ending.difference_update(tags)

    def let_go(self, tags: Iterable[str]) -> None:
        """Forget jobs whose leases have ended."""
        for tag in tags:
            self._held.pop(tag, None)

    async def give_back(self, tags: list[str]) -> None:
        """Return jobs to their queues."""
        if tags:
            with self.ending(tags):
                await self.leases.give_back(tags)

    async def depths(self, endpoint_names: Sequence[str]) -> dict[str, int]:
        """Return the number of queued jobs of each endpoint."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for name in endpoint_names:
                for suffix in _SUFFIXES:
                    pipeline.llen(queue_name(name) + suffix)
            replies, lists = await pipeline.execute(raise_on_error=False), len(_SUFFIXES)
        # A key that is not a list counts as an empty queue.
        lengths = [length if isinstance(length, int) else 0 for length in replies]
        return {name: sum(lengths[lists * at : lists * (at + 1)]) for at, name in enumerate(endpoint_names)}

    async def forget_workers(self, names: Sequence[str]) -> None:
        """Remove the bindings of killed workers' control queues.

        If one still runs, kombu writes its binding again. No message is lost: control commands go to all workers.
        """
        bindings = [naming.pidbox_binding(name) for name in names]
        async with self._client.pipeline(transaction=False) as pipeline:
            for key in naming.PIDBOX_BINDINGS:
                pipeline.srem(key, *bindings)
            await pipeline.execute()

    async def close(self) -> None:
        """Stop fetching; return when fetched jobs have been delivered."""
        self._closed = True
        self._rung.set()
        async with self._fetching:
            pass

    async def disconnect(self) -> None:
        """Close the connection to Redis."""
        await self._client.aclose()

    async def drop_queues(self, _endpoint_name: str) -> bool:
        """Do nothing: in Redis, an empty queue doesn't exist."""
        return True

    async def run(self) -> None:
        """Fetch until closed."""
        while not self._closed:
            try:
                await self._check()
            except (RedisError, OSError) as error:
                _log.warning("fetching jobs failed (%s); retrying", error)
                await asyncio.sleep(_PAUSE_S)
            except Exception:  # noqa: BLE001 - fetching must continue
                _log.exception("unexpected error while delivering fetched jobs")
                await asyncio.sleep(_PAUSE_S)

    async def listen(self) -> None:
        """Listen for queued jobs until cancelled."""
        if not await self._enable_notifications():
            # Redis may send them and only deny this user its configuration; `_on_notifications` detects that.
            _log.warning("Redis sends no notifications of queued jobs: checking the queues every %g ms", _POLL_S * 1000)
            self._check_s = _POLL_S
        database = self._client.connection_pool.connection_kwargs.get("db") or 0
        await QueueListener(
            self._client, [f"__keyspace@{database}__:{queue_name('*')}"], self._on_notifications, self._check_all
        ).run()

    async def renew(self) -> None:
        """Renew this worker's leases, and return jobs of dead workers to their queues, until cancelled."""
        was_away = False
        while True:
            await asyncio.sleep(self._lease_s / 4)
            try:
                await self._renew()
                # After an outage that may have outlasted leases, all live workers renew theirs first.
                while not was_away and (expired := await self.leases.expire()):
                    _log.warning("returned %d jobs of dead workers to their queues", expired)
                was_away = False
            except (RedisError, OSError) as error:
                was_away = True
                _log.warning("renewing leases failed (%s); retrying", error)

    async def _renew(self) -> None:
        if arriving := list(self.leases.arriving):
            await self.leases.renew(arriving)
        held = self.held
        for start in range(0, len(held), _RENEWED_AT_ONCE):
            jobs = {tag: self._held.get(tag) for tag in held[start : start + _RENEWED_AT_ONCE]}
            lost = await self.leases.renew(list(jobs))
            # Jobs that were let go in the meantime are not lost, and jobs that were fetched again are held.
            lost = [tag for tag in lost if (job := jobs[tag]) and self._held.get(tag) is job]
            lost = [tag for tag in lost if tag not in self._ending]
            if lost:
                _log.warning("lost %d leases: dropping their jobs, which will be delivered again", len(lost))
                self.let_go(lost)

    async def _check(self) -> None:
        self._rung.clear()
        credit_of = {name: credit for name in self._filled if (credit := self._credit(name)) > 0}
        more_of = {name: more for name in self._urgent if (more := self._credit(name, if_high=True)) > 0}
        if credit_of or more_of:
            async with self._fetching:
                await self._fetch(credit_of, more_of)
            return
        try:
            async with asyncio.timeout(self._check_s):
                await self._rung.wait()
        except TimeoutError:
            self._filled, self._urgent = set(self._sinks), set(self._sinks)

    async def _fetch(self, credit_of: dict[str, int], more_of: dict[str, int]) -> None:
        # Cleared before the fetch: jobs that are queued from now on ring again.
        self._filled.difference_update(credit_of)
        self._urgent.difference_update(more_of)
        try:
            fetched = await self.leases.fetch(credit_of, more_of, self._served_at_once(credit_of))
        except (RedisError, OSError):
            self._not_fetched(credit_of, more_of)
            raise
        for name in {*credit_of, *more_of}:
            if sink := self._sinks.get(name):
                sink.not_fetched(self.leases.refused.get(name))
        if sum(len(each.message) for each in fetched) >= FETCHED_AT_ONCE_BYTES:
            self._not_fetched(credit_of, more_of)
        by_endpoint: dict[str, list[Leased]] = {}
        for each in fetched:
            by_endpoint.setdefault(each.endpoint_name, []).append(each)
        for name, leased in by_endpoint.items():
            if len(leased) >= credit_of.get(name, 0):
                self._filled.add(name)
            if name in more_of and len(leased) >= credit_of.get(name, 0) + more_of[name]:
                self._urgent.add(name)
            # Skip second messages of jobs that are held: one lease and one run are enough.
            new = {each.tag: each for each in leased if each.tag not in self._held}
            try:
                await self._deliver(name, list(new.values()))
            except (RedisError, OSError) as error:
                # Jobs that were not delivered return when their leases expire.
                _log.warning("delivering jobs of %s failed (%s); they will be delivered again", name, error)

    async def _deliver(self, endpoint_name: str, fetched: list[Leased]) -> None:
        jobs, careful, unreadable = [], [], []
        for leased in fetched:
            try:
                job = read_at_once(leased.tag, endpoint_name, leased.message)
            except MessageUnreadable as error:
                unreadable.append((leased, error))
            else:
                if job is None:
                    careful.append(leased)
                else:
                    job.claimed_at = leased.claimed_at
                    jobs.append(job)
        await self._hand_over(endpoint_name, jobs)
        for leased in careful:
            try:
                job = await read_with_care(self._client, leased.tag, endpoint_name, leased.message)
            except MessageUnreadable as error:
                unreadable.append((leased, error))
            else:
                job.claimed_at = leased.claimed_at
                await self._hand_over(endpoint_name, [job])
        for leased, why in unreadable:
            _log.error("put aside a message of queue %s: %s", queue_name(endpoint_name), why)
            if leased.claimed_at is not None:
                await unclaim_fetched(self._client, leased.tag, self._worker_name, self.leases.holder)
            await self.leases.put_aside(leased)

    async def _hand_over(self, endpoint_name: str, jobs: list[QueuedJob]) -> None:
        await keep_successors(self._records, jobs)
        # Only delivered jobs are held: if Redis fails now, the leases of the others expire.
        sink = self._sinks.get(endpoint_name)
        if sink is None:
            await release_claims(self._client, self._worker_name, jobs)
            await self.give_back([job.tag for job in jobs])
            return
        if too_early := early(sink, jobs):
            due = await self._delay(sink, endpoint_name, [job for job in jobs if job in too_early])
            jobs = [job for job in jobs if job not in too_early or job in due]
        if jobs:
            self._held.update((job.tag, job) for job in jobs)
            sink.receive(jobs)

    def _served_at_once(self, names: Iterable[str]) -> list[str]:
        """Return the endpoints of which a job that comes alone is claimed at once."""
        return [name for name in names if self._sinks[name].serves_at_once] if self._claims else []

    async def _delay(self, sink: JobSink, endpoint_name: str, jobs: list[QueuedJob]) -> set[QueuedJob]:
        """Delay jobs that are not due; return those that are due by Redis's clock."""
        await release_claims(self._client, self._worker_name, jobs)
        due, settled = await self._delays.delay_for(sink, endpoint_name, jobs)
        if not self.leases_are_beside_records:
            await self.leases.ack([job.tag for job in settled])
        return set(due)

    def _not_fetched(self, credit_of: Iterable[str], more_of: Iterable[str]) -> None:
        self._filled.update(credit_of)
        self._urgent.update(more_of)

    def _credit(self, endpoint_name: str, *, if_high: bool = False) -> int:
        """Return the number of jobs to fetch, or with `if_high` how many more to fetch while high jobs wait."""
        sink = self._sinks.get(endpoint_name)
        if sink is None or self._closed:
            return 0
        return sink.credit_if_high - max(0, sink.credit) if if_high else sink.credit

    def _on_notifications(self, notifications: bytes) -> None:
        if _NOTIFICATION in notifications:
            self._check_s = _CHECK_S
        if b"push" not in notifications:
            return
        for name, priority in set(_PUSHED.findall(notifications)):
            endpoint_name = name.decode(errors="replace")
            if endpoint_name in self._sinks:
                self.ring(endpoint_name)
                if priority == _HIGH:
                    self._urgent.add(endpoint_name)

    def _check_all(self) -> None:
        self._urgent.update(self._sinks)
        for name in self._sinks:
            self.ring(name)

    async def _enable_notifications(self) -> bool:
        while True:
            try:
                found = await self._client.config_get("notify-keyspace-events")
                flags = set(found["notify-keyspace-events"] or "")
                if not (flags >= _KEYSPACE_FLAGS or flags >= {"K", "A"}):
                    await self._client.config_set("notify-keyspace-events", "".join(sorted(flags | _KEYSPACE_FLAGS)))
            except (ResponseError, KeyError):
                return False
            except (RedisError, OSError):
                await asyncio.sleep(_PAUSE_S)
            else:
                return True
