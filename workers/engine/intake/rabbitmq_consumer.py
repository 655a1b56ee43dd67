"""One endpoint's channel, which consumes the endpoint's queues, each with the same prefetch.

Each queue has a prefetch of its own, so that the worker always has the next jobs of each priority, however many of
another wait. The worker decides their order (`batching.priority_queue`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from functools import partial

from aiormq import Connection
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import ChannelNotFoundEntity
from pamqp import commands as spec

from workers.engine.intake.rabbitmq_connection import BrokerGone, gone
from workers.queues.naming import queue_name, queue_names
from workers.queues.priorities import Priority

_ANSWER_TIMEOUT_S = 5.0


class Consumer:
    """Consumes the queues of one endpoint on one connection; deliveries stay unacknowledged until their jobs end."""

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
        #: Channels of deleted queues; jobs from them may still run.
        self._left: list[AbstractChannel] = []
        #: Whether a queue was deleted, so that all must be declared and consumed on another channel.
        self._deleted = False
        self._prefetch = 0

    async def want(self, prefetch: int) -> None:
        """Consume each queue with this prefetch, or none with 0; return when pending deliveries have arrived.

        Raises:
            BrokerGone: the channel is closed; a new consumer is needed.
        """
        if self.channel is not None and self.channel.is_closed:
            raise BrokerGone("RabbitMQ has closed the channel")
        if prefetch == (self._prefetch if self._tags else 0) and not self._deleted:
            return
        with gone():
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                await self._cancel()
                if prefetch:
                    await self._consume(prefetch)

    async def flush(self) -> None:
        """Wait until RabbitMQ has processed all acknowledgements and returns. Raises BrokerGone."""
        if self.channel is not None:
            with gone():
                async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                    await self.channel.basic_qos(prefetch_count=max(self._prefetch, 1))

    async def close(self) -> None:
        """Close the channels; their unacknowledged messages go back to the queue."""
        channels, self._left = [*self._left, *([self.channel] if self.channel else [])], []
        await _close(channels)

    async def close_left(self, held: Collection[AbstractChannel]) -> None:
        """Close the channels of deleted queues, except those in `held`, which still have jobs."""
        unused = [channel for channel in self._left if channel not in held]
        self._left = [channel for channel in self._left if channel in held]
        await _close(unused)

    async def _cancel(self) -> None:
        tags, self._tags = self._tags, []
        if self.channel is not None:
            for tag in tags:
                await self.channel.basic_cancel(tag)
        if self._deleted:
            # The channel stays open: the jobs that it has delivered exist nowhere else.
            if self.channel is not None:
                self._left.append(self.channel)
            self._deleted, self.channel = False, None

    async def _consume(self, prefetch: int) -> None:
        channel = self.channel or await self._open()
        await channel.basic_qos(prefetch_count=prefetch)
        self._prefetch = prefetch
        for priority in Priority:
            on_message = partial(self._delivered, priority)
            ok = await channel.basic_consume(queue_name(self.endpoint_name, priority), on_message)
            self._tags.append(str(ok.consumer_tag))

    async def _open(self) -> AbstractChannel:
        channel = await self._connection.channel(publisher_confirms=False)
        for queue in queue_names(self.endpoint_name):
            try:
                await channel.queue_declare(queue, passive=True)
            except ChannelNotFoundEntity:
                # RabbitMQ closes the channel with this reply. Declared as in workers.broker.rabbitmq.
                channel = await self._connection.channel(publisher_confirms=False)
                await channel.queue_declare(queue, durable=True)
        channel.on_consumer_cancel_callbacks.add(self._cancelled)
        self.channel = channel
        return channel

    async def _delivered(self, priority: Priority, message: DeliveredMessage) -> None:
        self._deliver(self, priority, message)

    def _cancelled(self, frame: spec.Basic.Cancel) -> None:
        """Record that a queue was deleted; the next check declares it again on another channel."""
        self._tags = [tag for tag in self._tags if tag != frame.consumer_tag]
        self._deleted = True


async def _close(channels: Iterable[AbstractChannel]) -> None:
    with gone():
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            for channel in channels:
                if not channel.is_closed:
                    await channel.close()
