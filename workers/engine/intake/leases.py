"""Leases of messages in queues in Redis; each step is one atomic script.

A message is popped and leased in one step. Its worker renews the lease while it lives; when a worker dies, its messages
return to their queues once their leases expire. All times are by Redis's clock, so that clocks can't disagree. (kombu's
Redis transport pops first and registers later, and a `kill -9` in between loses messages.)

Each lease is stored with its holder, the worker that was granted it last, and the time when that holder's lease
expires: a worker that has lost a lease can't renew or end another's. Another worker's lease expires at another time,
also the lease of a worker of an earlier release, which stores no holder.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from workers import keys
from workers.jobs.transitions import claim_fetched_values
from workers.platform.lua import Lua, script
from workers.platform.redis.async_client import leave_if_demoted
from workers.queues import envelopes
from workers.queues.lease_holder import LEASE_HOLDER
from workers.queues.naming import LISTS, queue_name
from workers.queues.priorities import Priority

_FETCH = Lua("workers.engine.intake", "fetch")
_RENEW = Lua("workers.engine.intake", "renew")
_GIVE_BACK = Lua("workers.engine.intake", "give_back")
_ACK = Lua("workers.engine.intake", "acknowledge")
_READ = Lua("workers.engine.intake", "read_leased")
_IS_LEASED = Lua("workers.engine.intake", "is_leased")
_IS_QUEUED = Lua("workers.engine.intake", "is_queued")
KEEP_MALFORMED = Lua("workers.engine.intake", "keep_malformed")
_PUT_ASIDE = Lua("workers.engine.intake", "put_aside")
_EXPIRE = Lua("workers.engine.intake", "expire_leases")
_SEND = Lua("workers.engine.intake", "send")

#: One fetch returns messages of about this size, whatever the credit: their leases already run during the transfer.
FETCHED_AT_ONCE_BYTES = 2 * 1024 * 1024
#: Larger messages are read one by one after the fetch: their tags are then known, so their leases can be renewed.
_LARGE_BYTES = 256 * 1024
_EXPIRED_AT_ONCE = 100
_SUBMITTED_AT = re.compile(rb'"%b": ?([\d.]+)' % keys.SUBMITTED_AT_HEADER.encode())
_DELIVERY_TAG_NAME = b'"delivery_tag"'
_DELIVERY_TAG = re.compile(_DELIVERY_TAG_NAME + rb': ?"([!#-~]+)"')
_ETA = re.compile(rb'"eta": ?"')
MALFORMED_KEPT = 1_000
_NOTHING: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class Leased:
    """A message that this worker holds until its lease expires."""

    tag: str
    endpoint_name: str
    message: bytes
    #: When the same step claimed its job (s since the epoch); None if it did not.
    claimed_at: float | None = None


class Leases:
    """The queues of one Redis."""

    def __init__(
        self,
        client: Redis,
        lease_s: float,
        holder: str = LEASE_HOLDER,
        records: Redis | None = None,
        worker_name: str = "",
    ) -> None:
        """Use `client` for the queues, and `records` for the jobs' records if they are in another Redis.

        `worker_name` is the worker that claims jobs.
        """
        self.holder = holder
        self._client = client
        self._records = records or client
        self._lease_s = lease_s
        self._worker_name = worker_name
        #: The tags of messages that are being fetched; there is one fetch at a time.
        self.arriving: set[str] = set()
        #: The errors of the last fetch by endpoint: why one or all of its queues could not be read.
        self.refused: dict[str, str] = {}

    async def fetch(
        self,
        wanted: Mapping[str, int],
        more_if_high: Mapping[str, int] = _NOTHING,
        claiming: Collection[str] = (),
    ) -> list[Leased]:
        """Fetch up to so many messages of each endpoint: by priority, and by age within a priority.

        For an endpoint in `more_if_high`, fetch so many more while high jobs wait. Priorities take turns
        (`workers.queues.priorities`), so that one in ten messages is the next of each priority.

        For the endpoints in `claiming`, a message that is the only one of its endpoint is claimed in the same step, if
        its job has a record and no attempt; the records must be in the same Redis.

        Raises:
            redis.RedisError: Redis can't be reached, or is a replica.
        """
        names, now = list(dict.fromkeys([*wanted, *more_if_high])), time.time()
        arguments: list[str | float | bytes] = [self._lease_s, FETCHED_AT_ONCE_BYTES]
        for name in names:
            arguments += (wanted.get(name, 0), more_if_high.get(name, 0), int(name in claiming))
        arguments += (_LARGE_BYTES, self.holder, *claim_fetched_values(self._worker_name, self.holder, now))
        keys_of = [keys.LEASED, keys.TURNS, *map(queue_name, names)]
        flat, claimed = await script(self._client, _FETCH)(keys_of, arguments)
        found = list(zip(*(flat[offset::3] for offset in range(3)), strict=True))
        refused = {names[index]: why.decode(errors="replace") for index, tag, why in found if not tag}
        leave_if_demoted(self._client, refused.values())
        self.refused = refused
        try:
            # All of them are renewed while the large ones are read.
            self.arriving = {tag.decode() for _, tag, _ in found if tag}
            leased = []
            for index, tag, message in found:
                whole = await self._read(tag) if tag and message is None else message
                if tag and whole is not None:
                    leased.append(Leased(tag.decode(), names[index], whole, now if tag in claimed else None))
            return leased
        finally:
            self.arriving = set()

    async def _read(self, tag: bytes) -> bytes | None:
        """Read a leased message; None if its lease was lost in the meantime."""
        found: bytes | None = await script(self._client, _READ)([keys.LEASED], [self.holder, tag])
        return None if found is None else found.partition(b"\n")[2]

    async def ack(self, tags: Sequence[str]) -> None:
        """End leases of this holder: their jobs have terminal records."""
        await script(self._client, _ACK)([], [self.holder, *tags])

    async def renew(self, tags: Sequence[str]) -> list[str]:
        """Renew leases; return the tags of those that this holder has lost."""
        lost = await script(self._client, _RENEW)([], [self._lease_s, self.holder, *tags])
        return [tag.decode() for tag in lost]

    async def give_back(self, tags: Sequence[str]) -> None:
        """Return messages with a lease of this holder to the heads of their queues."""
        await script(self._client, _GIVE_BACK)([keys.LEASED], [self.holder, *tags])

    async def is_leased(self, tag: str) -> bool:
        """Whether some worker holds the message with this tag."""
        return bool(await script(self._client, _IS_LEASED)([keys.LEASES], [tag]))

    async def expire(self) -> int:
        """Return messages with expired leases to their queues; return their number."""
        return int(await script(self._client, _EXPIRE)([keys.LEASED, keys.LEASES], [_EXPIRED_AT_ONCE]))

    async def oldest_at(self, endpoint_name: str) -> float | None:
        """Return when the oldest of the next messages was put into its queue (s, Redis clock).

        Each priority has one next message; None if there is no message. Messages of bare Celery programs carry this
        time by the program's clock; 0 if one does not, or if it was delayed and so came into its queue later.
        """
        name = queue_name(endpoint_name)
        async with self._client.pipeline(transaction=False) as pipeline:
            for suffix in (suffix for priority in Priority for suffix in LISTS[priority]):
                pipeline.lindex(name + suffix, -1)
            heads = [message for message in await pipeline.execute() if message is not None]
        if not heads:
            return None
        queued_at = await self._records.zmscore(keys.unfinished(endpoint_name), [_tag_of(each) for each in heads])
        return min(
            _submitted_at(message) if at is None else float(at) for message, at in zip(heads, queued_at, strict=True)
        )

    async def is_queued(self, endpoint_name: str, message: bytes) -> bool:
        """Whether a message is in the queue of its priority."""
        queue = queue_name(endpoint_name, envelopes.decode(message).priority)
        return await script(self._client, _IS_QUEUED)([queue], [message]) is not None

    async def without_lease(self, job_ids: Sequence[str]) -> list[str]:
        """Return those of the jobs that no worker holds; a job's id is its message's tag."""
        if not job_ids:
            return []
        runs_out_at = await self._client.zmscore(keys.LEASES, list(job_ids))
        return [job_id for job_id, at in zip(job_ids, runs_out_at, strict=True) if at is None]

    async def send(self, endpoint_name: str, message: bytes) -> None:
        """Put a message at the end of the queue of its priority."""
        queue = queue_name(endpoint_name, envelopes.decode(message).priority)
        await script(self._client, _SEND)([queue], [message])

    async def put_aside(self, leased: Leased) -> None:
        """Keep an invalid message for operators, and end its lease."""
        values: list[bytes | str | int] = [leased.message, MALFORMED_KEPT, self.holder, leased.tag]
        await script(self._client, _PUT_ASIDE)([keys.MALFORMED], values)


def _tag_of(message: bytes) -> str:
    """Return the last delivery tag in a message, which is the job's id if the job has a record; "" without a tag."""
    found = _DELIVERY_TAG.match(message, max(0, message.rfind(_DELIVERY_TAG_NAME)))
    return found[1].decode() if found else ""


def _submitted_at(message: bytes) -> float:
    found = None if _ETA.search(message) else _SUBMITTED_AT.search(message)
    try:
        return float(found[1]) if found else 0.0
    except ValueError:  # an invalid message may have any value
        return 0.0
