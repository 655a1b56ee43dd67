"""Taking jobs from queues in Redis: as many of each endpoint as it can use, and holding their leases.

Every endpoint has its own credit, so that a slow one with a long backlog never keeps its neighbours'
jobs waiting. Redis tells when something is queued; a look each second makes up for what is missed.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping, Sequence

from redis import RedisError, ResponseError
from redis.asyncio import Redis

from workers.engine.leases import FETCHED_AT_ONCE_BYTES, Leased, Leases
from workers.engine.listener import Listener
from workers.engine.messages import MessageUnreadable, QueuedJob, parse
from workers.engine.taking import Taker
from workers.priorities import Priority
from workers.queues import LISTS, queue_name

_log = logging.getLogger(__name__)

#: How often the queues are looked at although nothing was heard.
_LOOK_S = 1.0
#: The same where Redis doesn't tell of queued jobs.
_POLL_S = 0.02
_PAUSE_S = 0.5
#: Redis's flags for: tell by key (K), of list commands (l).
_KEYSPACE_FLAGS = {"K", "l"}
#: What stands in every notification.
_NOTIFICATION = b"pmessage"
#: Of a notification that something was put into a queue: whose queue, and of which level. Those of what was taken from
#: one, which are as many, say nothing new. (Endpoints' names have neither colons nor control characters.)
_PUSHED = re.compile(rb"%b([^\r\n:*\x06]+)(:\w+)?[^\r\n]*\r\n\$\d+\r\n[lr]push" % re.escape(queue_name("").encode()))
_HIGH = queue_name("", Priority.HIGH).removeprefix(queue_name("")).encode()
_RENEWED_AT_ONCE = 1_000
_SUFFIXES = [suffix for level in Priority for suffix in LISTS[level]]


class RedisIntake:
    """The `Intake` of queues in Redis."""

    def __init__(
        self, client: Redis, takers: Mapping[str, Taker], lease_s: float, *, beside_records: bool = False
    ) -> None:
        #: Whether the records are in the same Redis.
        self.leases_are_beside_records = beside_records
        self.leases = self.source = Leases(client, lease_s)
        self._client = client
        self._takers = takers
        self._lease_s = lease_s
        self._look_s = _LOOK_S
        #: In the order in which they were fetched.
        self._held: dict[str, None] = {}
        #: Endpoints whose queue may hold something.
        self._filled: set[str] = set()
        #: Endpoints of which jobs of high priority may wait: worth a look also where no others are taken.
        self._urgent: set[str] = set()
        self._rung = asyncio.Event()
        #: Held during a fetch, so that closing never cuts one off from its answer.
        self._fetching = asyncio.Lock()
        self._closed = False

    @property
    def held(self) -> list[str]:
        """The tags of all jobs that this worker holds, oldest first."""
        return list(self._held)

    def ring(self, endpoint_name: str) -> None:
        """Have this endpoint's queue looked at soon, because it has something or there is room now."""
        self._filled.add(endpoint_name)
        self._rung.set()

    def made_room(self, endpoint_name: str) -> None:
        """An endpoint can use more jobs; its queue is looked at if the last look left some there."""
        if endpoint_name in self._filled or endpoint_name in self._urgent:
            self._rung.set()

    def keeps(self, _job: QueuedJob) -> bool:
        """Whether a job that waits is still this worker's; its lease says so."""
        return True

    async def ack(self, jobs: Iterable[QueuedJob]) -> None:
        """End the leases of jobs that have terminal records."""
        tags = [job.tag for job in jobs]
        await self.leases.ack(tags)
        self.let_go(tags)

    def let_go(self, tags: Iterable[str]) -> None:
        """Forget jobs whose leases have ended."""
        for tag in tags:
            self._held.pop(tag, None)

    async def give_back(self, tags: list[str]) -> None:
        """Put jobs back into their queues, for another worker or another time."""
        if tags:
            await self.leases.give_back(tags)
            self.let_go(tags)

    async def depths(self, endpoint_names: Sequence[str]) -> dict[str, int]:
        """Return how many jobs of each endpoint nobody has fetched."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for name in endpoint_names:
                for suffix in _SUFFIXES:
                    pipeline.llen(queue_name(name) + suffix)
            lengths, lists = await pipeline.execute(), len(_SUFFIXES)
        return {name: sum(lengths[lists * at : lists * (at + 1)]) for at, name in enumerate(endpoint_names)}

    async def close(self) -> None:
        """Fetch nothing any more; what was being fetched has been delivered when this returns."""
        self._closed = True
        self._rung.set()
        async with self._fetching:
            pass

    async def disconnect(self) -> None:
        """End the connection to Redis."""
        await self._client.aclose()

    async def run(self) -> None:
        """Fetch until closed."""
        while not self._closed:
            try:
                await self._look()
            except (RedisError, OSError) as error:
                _log.warning("can't fetch jobs (%s); trying again", error)
                await asyncio.sleep(_PAUSE_S)
            except Exception:  # noqa: BLE001 - the fetching must go on
                _log.exception("can't deliver fetched jobs")
                await asyncio.sleep(_PAUSE_S)

    async def listen(self) -> None:
        """Hear of queued jobs until cancelled."""
        if not await self._tells_of_queued_jobs():
            # It may tell all the same, and only not let this user ask: then the first that is heard says so.
            _log.warning("Redis doesn't tell of queued jobs; the queues are looked at each %g ms", _POLL_S * 1000)
            self._look_s = _POLL_S
        database = self._client.connection_pool.connection_kwargs.get("db") or 0
        await Listener(
            self._client, [f"__keyspace@{database}__:{queue_name('*')}"], self._heard, self._may_have_missed
        ).run()

    async def renew(self) -> None:
        """Renew this worker's leases, and give back what dead workers left, until cancelled."""
        while True:
            await asyncio.sleep(self._lease_s / 4)
            try:
                held = self.held
                for start in range(0, len(held), _RENEWED_AT_ONCE):
                    await self.leases.renew(held[start : start + _RENEWED_AT_ONCE])
                while expired := await self.leases.expire():
                    _log.warning("%d jobs of workers that are gone went back to their queues", expired)
            except (RedisError, OSError) as error:
                _log.warning("can't renew leases (%s); trying again", error)

    async def _look(self) -> None:
        self._rung.clear()
        credit_of = {name: credit for name in self._filled if (credit := self._credit(name)) > 0}
        more_of = {name: more for name in self._urgent if (more := self._credit(name, if_high=True)) > 0}
        if credit_of or more_of:
            async with self._fetching:
                await self._fetch(credit_of, more_of)
            return
        try:
            async with asyncio.timeout(self._look_s):
                await self._rung.wait()
        except TimeoutError:
            self._filled, self._urgent = set(self._takers), set(self._takers)

    async def _fetch(self, credit_of: dict[str, int], more_of: dict[str, int]) -> None:
        # Said before the fetch: what is queued from now on rings again.
        self._filled.difference_update(credit_of)
        self._urgent.difference_update(more_of)
        try:
            fetched = await self.leases.fetch(credit_of, more_of)
        except (RedisError, OSError):
            self._not_fetched(credit_of, more_of)
            raise
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
            # A job that is here already and was sent once more: one lease, and one run, are enough.
            new = {each.tag: each for each in leased if each.tag not in self._held}
            await self._deliver(name, list(new.values()))

    async def _deliver(self, endpoint_name: str, fetched: list[Leased]) -> None:
        jobs, unreadable = [], []
        for leased in fetched:
            try:
                jobs.append(parse(leased.tag, endpoint_name, leased.message))
            except MessageUnreadable as error:
                _log.error("put aside a message of queue %s: %s", queue_name(endpoint_name), error)
                unreadable.append(leased)
        # Held is what a taker has, and nothing else: should Redis fail now, the leases of the rest run out.
        tags = [job.tag for job in jobs]
        taker = self._takers.get(endpoint_name)
        if taker is not None:
            self._held.update(dict.fromkeys(tags))
            taker.receive(jobs)
        else:
            await self.give_back(tags)
        for leased in unreadable:
            await self.leases.put_aside(leased)

    def _not_fetched(self, credit_of: Iterable[str], more_of: Iterable[str]) -> None:
        self._filled.update(credit_of)
        self._urgent.update(more_of)

    def _credit(self, endpoint_name: str, *, if_high: bool = False) -> int:
        """How many jobs an endpoint can use, or with `if_high` how many more while any of high priority wait."""
        taker = self._takers.get(endpoint_name)
        if taker is None or self._closed:
            return 0
        return taker.credit_if_high - max(0, taker.credit) if if_high else taker.credit

    def _heard(self, notifications: bytes) -> None:
        if _NOTIFICATION in notifications:
            self._look_s = _LOOK_S
        if b"push" not in notifications:
            return
        for name, level in set(_PUSHED.findall(notifications)):
            endpoint_name = name.decode(errors="replace")
            if endpoint_name in self._takers:
                self.ring(endpoint_name)
                if level == _HIGH:
                    self._urgent.add(endpoint_name)

    def _may_have_missed(self) -> None:
        self._urgent.update(self._takers)
        for name in self._takers:
            self.ring(name)

    async def _tells_of_queued_jobs(self) -> bool:
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
