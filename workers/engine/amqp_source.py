"""What Redis is told of jobs that RabbitMQ has delivered, so that lost ones can be told from those that are held.

RabbitMQ itself gives a dead worker's jobs to others; but it doesn't show what is in a queue, nor who has
what. So workers say which jobs they hold, under leases that they renew, and how far each queue was read:
jobs come out of a queue, which has those of one priority, in the order of their submission, give or take some seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

from kombu.exceptions import OperationalError
from redis.asyncio import Redis

from workers import broker, envelopes, keys, rabbitmq
from workers.engine.amqp_connection import BrokerGone
from workers.engine.leases import MALFORMED_KEPT
from workers.engine.messages import QueuedJob
from workers.queues import queue_name, queue_names
from workers.redis_client import EVEN_IF_FULL, script

#: KEYS: leases, heads. ARGV: seconds, queue, submit time of the last ("" for not known), job ids.
_TOOK = (
    EVEN_IF_FULL
    + """
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
for i = 4, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], ARGV[2], ARGV[3]) end
"""
)

#: KEYS: leases. ARGV: seconds, job ids. Forgets all leases that have run out, whoever held them.
_RENEW = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
"""


class AmqpSource:
    """The queues of a RabbitMQ, as the sweeper sees them, and what this worker tells of its jobs."""

    def __init__(self, records: Redis, lease_s: float) -> None:
        self._records = records
        self._lease_s = lease_s

    async def took(self, queue: str, jobs: Sequence[QueuedJob]) -> None:
        """Say that this worker holds jobs that it was given."""
        last = jobs[-1].submitted_at
        values = [self._lease_s, queue, "" if last is None else last, *(job.job_id for job in jobs)]
        await script(self._records, _TOOK)([keys.LEASES, keys.HEADS], values)

    async def let_go(self, job_ids: Sequence[str]) -> None:
        """Say that this worker holds jobs no more."""
        await self._records.zrem(keys.LEASES, *job_ids)

    async def renew(self, job_ids: Sequence[str]) -> None:
        """Say that this worker still holds jobs."""
        await script(self._records, _RENEW)([keys.LEASES], [self._lease_s, *job_ids])

    async def put_aside(self, message: bytes) -> None:
        """Keep a message that is no job where an operator finds it."""
        async with self._records.pipeline(transaction=True) as pipeline:
            pipeline.lpush(keys.MALFORMED, message)
            pipeline.ltrim(keys.MALFORMED, 0, MALFORMED_KEPT - 1)
            await pipeline.execute()

    async def depths(self, endpoint_names: Sequence[str]) -> dict[str, int]:
        """Return how many jobs of each endpoint nobody has fetched. Raises BrokerGone."""
        depth_of = await self._depths([queue for name in endpoint_names for queue in queue_names(name)])
        return {name: sum(depth_of[queue] for queue in queue_names(name)) for name in endpoint_names}

    async def oldest_at(self, endpoint_name: str) -> float | None:
        """Return when the job that left a queue last was submitted (s): what is older has left it too.

        Of the endpoint's queues that have jobs it is the one that is farthest behind. None if all of them are empty,
        0 if nobody knows.
        """
        depth_of = await self._depths(queue_names(endpoint_name))
        filled = [queue for queue, depth in depth_of.items() if depth]
        if not filled:
            return None
        heads = [cast("bytes | None", await self._records.hget(keys.HEADS, queue)) for queue in filled]
        return min(float(head) if head else 0.0 for head in heads)

    async def without_lease(self, job_ids: Sequence[str]) -> list[str]:
        """Return those of the jobs that no worker holds."""
        if not job_ids:
            return []
        runs_out_at = await self._records.zmscore(keys.LEASES, list(job_ids))
        return [job_id for job_id, at in zip(job_ids, runs_out_at, strict=True) if at is None]

    async def send(self, endpoint_name: str, message: bytes) -> None:
        """Put a message into the queue of its priority. Raises BrokerGone."""
        queue = queue_name(endpoint_name, envelopes.decode(message).priority)
        try:
            await asyncio.to_thread(broker.send, queue, message)
        except OperationalError as error:
            raise BrokerGone(str(error)) from error

    async def _depths(self, queues: Sequence[str]) -> Mapping[str, int]:
        try:
            return await asyncio.to_thread(rabbitmq.depths, queues)
        except OperationalError as error:
            raise BrokerGone(str(error)) from error
