"""One endpoint's channel: consuming its queues, each with the same prefetch, or not consuming them.

Each queue has a prefetch of its own, so that the next jobs of each priority are always here, however many wait of
another; their order is the worker's own business (`levels`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from aiormq import Connection
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import ChannelNotFoundEntity
from pamqp import commands as spec

from workers.engine.amqp_connection import BrokerGone, gone
from workers.priorities import Priority
from workers.queues import queue_name, queue_names

_ANSWER_TIMEOUT_S = 5.0


class Consumer:
    """Belongs to one connection; what its channel has delivered stays unacknowledged while it lives."""

    def __init__(
        self,
        connection: Connection,
        endpoint_name: str,
        deliver: Callable[[Consumer, Priority, DeliveredMessage], None],
    ) -> None:
        self.endpoint_name = endpoint_name
        self.channel: AbstractChannel | None = None
        self._connection = connection
        self._deliver = deliver
        self._tags: list[str] = []
        #: Whether a queue was deleted, so that they have to be declared, and consumed, on another channel.
        self._deleted = False
        self._prefetch = 0
        self._delayed = 0

    async def want(self, prefetch: int, delayed: int) -> None:
        """Consume each queue with this prefetch, 0 for none of them; what was on its way has come when this returns.

        Jobs whose time has not come (`delayed`) are unacknowledged messages for long, and would keep
        others away: a new consumer's prefetch doesn't count what an old one has.

        Raises:
            BrokerGone: the channel can't be used any more; make a new consumer.
        """
        if self.channel is not None and self.channel.is_closed:
            raise BrokerGone("RabbitMQ has closed the channel")
        self._delayed = min(self._delayed, delayed)
        few_delayed = 2 * (delayed - self._delayed) < max(prefetch, 1)
        if prefetch == (self._prefetch if self._tags else 0) and few_delayed and not self._deleted:
            return
        with gone():
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                await self._cancel()
                if prefetch:
                    await self._consume(prefetch)
                    self._delayed = delayed

    async def flush(self) -> None:
        """Wait until RabbitMQ has seen all that was acknowledged and given back. Raises BrokerGone."""
        if self.channel is not None:
            with gone():
                async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                    await self.channel.basic_qos(prefetch_count=max(self._prefetch, 1))

    async def close(self) -> None:
        """Close the channel: what it has delivered and nobody has acknowledged goes back to the queue."""
        if self.channel is not None:
            with gone():
                async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                    await self.channel.close()

    async def _cancel(self) -> None:
        tags, self._tags = self._tags, []
        if self.channel is not None:
            for tag in tags:
                await self.channel.basic_cancel(tag)
        if self._deleted:
            # The channel stays open: the jobs that it has delivered are nowhere else.
            self._deleted, self.channel = False, None

    async def _consume(self, prefetch: int) -> None:
        channel = self.channel or await self._open()
        await channel.basic_qos(prefetch_count=prefetch)
        self._prefetch = prefetch
        for level in Priority:
            ok = await channel.basic_consume(queue_name(self.endpoint_name, level), partial(self._delivered, level))
            self._tags.append(str(ok.consumer_tag))

    async def _open(self) -> AbstractChannel:
        channel = await self._connection.channel(publisher_confirms=False)
        for queue in queue_names(self.endpoint_name):
            try:
                await channel.queue_declare(queue, passive=True)
            except ChannelNotFoundEntity:
                # With this answer RabbitMQ closes the channel. Declared as in workers.rabbitmq.
                channel = await self._connection.channel(publisher_confirms=False)
                await channel.queue_declare(queue, durable=True)
        channel.on_consumer_cancel_callbacks.add(self._cancelled)
        self.channel = channel
        return channel

    async def _delivered(self, level: Priority, message: DeliveredMessage) -> None:
        self._deliver(self, level, message)

    def _cancelled(self, frame: spec.Basic.Cancel) -> None:
        """A queue was deleted: the next look declares it again, on another channel."""
        self._tags = [tag for tag in self._tags if tag != frame.consumer_tag]
        self._deleted = True
