"""Records in Redis which jobs RabbitMQ has delivered, so that the sweeper can tell lost jobs from held ones.

RabbitMQ redelivers a dead worker's jobs itself, but it shows neither the messages in a queue nor who holds which. So
workers record the jobs that they hold, under leases that they renew, and how far each queue was read: jobs of one
queue, which all have the same priority, are delivered in the order of their submission, give or take some seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

from kombu.exceptions import OperationalError
from redis.asyncio import Redis

from workers import keys
from workers.broker import broker_client, rabbitmq
from workers.engine.intake.leases import KEEP_MALFORMED, MALFORMED_KEPT
from workers.engine.intake.messages import QueuedJob
from workers.engine.intake.rabbitmq_connection import BrokerGone
from workers.platform.lua import Lua, script
from workers.queues import envelopes
from workers.queues.naming import queue_name, queue_names

_TOOK = Lua("workers.engine.intake", "lease_delivered")

_RENEW = Lua("workers.engine.intake", "renew_delivered")


class AmqpSource:
    """The queues of RabbitMQ for the sweeper, and the records of the jobs that this worker holds."""

    def __init__(self, records: Redis, lease_s: float) -> None:
        self._records = records
        self._lease_s = lease_s

    async def took(self, queue: str, jobs: Sequence[QueuedJob]) -> None:
        """Record that this worker holds delivered jobs."""
        last = jobs[-1].submitted_at
        values = [self._lease_s, queue, "" if last is None else last, *(job.job_id for job in jobs)]
        names = [keys.LEASES, keys.HEADS, keys.unfinished(jobs[-1].endpoint_name)]
        await script(self._records, _TOOK)(names, values)

    async def let_go(self, job_ids: Sequence[str]) -> None:
        """Record that this worker no longer holds jobs."""
        await self._records.zrem(keys.LEASES, *job_ids)

    async def renew(self, job_ids: Sequence[str]) -> None:
        """Record that this worker still holds jobs."""
        await script(self._records, _RENEW)([keys.LEASES], [self._lease_s, *job_ids])

    async def put_aside(self, message: bytes) -> None:
        """Keep an invalid message for operators."""
        await script(self._records, KEEP_MALFORMED)([keys.MALFORMED], [message, MALFORMED_KEPT])

    async def depths(self, endpoint_names: Sequence[str]) -> dict[str, int]:
        """Return the number of queued jobs of each endpoint. Raises BrokerGone."""
        depth_of = await self._depths([queue for name in endpoint_names for queue in queue_names(name)])
        return {name: sum(depth_of[queue] for queue in queue_names(name)) for name in endpoint_names}

    async def oldest_at(self, endpoint_name: str) -> float | None:
        """Return when the last job that left a queue was put there (s): older jobs have left it, too.

        Among the endpoint's queues with jobs, it is the earliest of these times. None if all are empty, 0 if unknown.
        """
        depth_of = await self._depths(queue_names(endpoint_name))
        filled = [queue for queue, depth in depth_of.items() if depth]
        if not filled:
            return None
        heads = [cast("bytes | None", await self._records.hget(keys.HEADS, queue)) for queue in filled]
        return min(float(head) if head else 0.0 for head in heads)

    async def is_queued(self, _endpoint_name: str, _message: bytes) -> bool:
        """Return True: RabbitMQ doesn't show the messages in a queue, so it may be there."""
        return True

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
            await asyncio.to_thread(broker_client.send, queue, message)
        except OperationalError as error:
            raise BrokerGone(str(error)) from error

    async def drop_queues(self, endpoint_name: str) -> bool:
        """Delete the queues of an endpoint without jobs, if they are empty and have no consumer.

        Returns whether all are deleted. Raises BrokerGone.
        """
        if await self._records.zcard(keys.unfinished(endpoint_name)):
            return False
        queues = queue_names(endpoint_name)
        try:
            are_gone = await asyncio.to_thread(rabbitmq.delete_unused, queues)
        except OperationalError as error:
            raise BrokerGone(str(error)) from error
        if are_gone:
            await self._records.hdel(keys.HEADS, *queues)
        return are_gone

    async def _depths(self, queues: Sequence[str]) -> Mapping[str, int]:
        try:
            return await asyncio.to_thread(rabbitmq.depths, queues)
        except OperationalError as error:
            raise BrokerGone(str(error)) from error
