"""One endpoint's channel: consuming its queue with a prefetch of its own, or not consuming it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiormq import Connection
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import ChannelNotFoundEntity

from workers.engine.amqp_connection import BrokerGone, gone
from workers.queues import queue_name

_ANSWER_TIMEOUT_S = 5.0


class Consumer:
    """Belongs to one connection; what its channel has delivered stays unacknowledged while it lives."""

    def __init__(
        self, connection: Connection, endpoint_name: str, deliver: Callable[[Consumer, DeliveredMessage], None]
    ) -> None:
        self.endpoint_name = endpoint_name
        self.channel: AbstractChannel | None = None
        self._connection = connection
        self._deliver = deliver
        self._tag: str | None = None
        self._prefetch = 0
        self._delayed = 0

    async def want(self, prefetch: int, delayed: int) -> None:
        """Consume with this prefetch, 0 for not at all; what was on its way has been delivered when this returns.

        Jobs whose time has not come (`delayed`) are unacknowledged messages for long, and would keep
        others away: a new consumer's prefetch doesn't count what an old one has.

        Raises:
            BrokerGone: the channel can't be used any more; make a new consumer.
        """
        if self.channel is not None and self.channel.is_closed:
            raise BrokerGone("RabbitMQ has closed the channel")
        self._delayed = min(self._delayed, delayed)
        if prefetch == (self._prefetch if self._tag else 0) and 2 * (delayed - self._delayed) < max(prefetch, 1):
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
        if self.channel is not None and self._tag is not None:
            tag, self._tag = self._tag, None
            await self.channel.basic_cancel(tag)

    async def _consume(self, prefetch: int) -> None:
        queue = queue_name(self.endpoint_name)
        channel = self.channel or await self._open(queue)
        await channel.basic_qos(prefetch_count=prefetch)
        ok = await channel.basic_consume(queue, self._delivered)
        self._prefetch, self._tag = prefetch, ok.consumer_tag

    async def _open(self, queue: str) -> AbstractChannel:
        channel = await self._connection.channel(publisher_confirms=False)
        try:
            await channel.queue_declare(queue, passive=True)
        except ChannelNotFoundEntity:
            # With this answer RabbitMQ closes the channel. Declared as in workers.rabbitmq.
            channel = await self._connection.channel(publisher_confirms=False)
            await channel.queue_declare(queue, durable=True)
        channel.on_consumer_cancel_callbacks.add(self._cancelled)
        self.channel = channel
        return channel

    async def _delivered(self, message: DeliveredMessage) -> None:
        self._deliver(self, message)

    def _cancelled(self, _: object) -> None:
        """The queue was deleted: the next look makes another one, on another channel.

        This one stays open: the jobs that it has delivered are nowhere else.
        """
        self._tag = self.channel = None
