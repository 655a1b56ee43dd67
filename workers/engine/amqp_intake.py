"""Taking jobs from RabbitMQ: each endpoint has a channel whose prefetch is what the endpoint can use.

A message is unacknowledged until its job's outcome is stored; RabbitMQ gives it to another worker, or
here again, as soon as the connection is lost. What a lost connection had delivered can't be acknowledged
any more. A job of it that runs goes on, and takes over the message when that comes here again; one that
waits is dropped. Records make sure that a job which two workers have still has one outcome.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiormq import Connection
from aiormq.abc import AbstractChannel, DeliveredMessage
from redis import RedisError
from redis.asyncio import Redis

from workers import envelopes, priorities
from workers.engine import amqp_connection
from workers.engine.amqp_connection import BrokerGone, gone
from workers.engine.amqp_consumer import Consumer
from workers.engine.amqp_source import AmqpSource
from workers.engine.context import persistently
from workers.engine.messages import MessageUnreadable, QueuedJob, parse
from workers.engine.taking import Taker
from workers.envelopes import Envelope
from workers.priorities import Priority
from workers.queues import queue_name
from workers.settings import WorkerSettings

_log = logging.getLogger(__name__)

#: How often prefetches are compared with what endpoints can use although nothing was heard.
_LOOK_S = 1.0
_PAUSE_S = 0.5
_SHORTEST_HEARTBEAT_S = 2
_RENEWED_AT_ONCE = 1_000
#: Properties of a message that are kept with it.
_KEPT = ("priority", "correlation_id", "reply_to")


@dataclass(slots=True)
class _Held:
    """Where the message of a job came from last."""

    endpoint_name: str
    channel: AbstractChannel
    delivery_tag: int

    @property
    def stale(self) -> bool:
        """Whether the message can't be acknowledged any more."""
        return self.channel.is_closed


class AmqpIntake:
    """The `Intake` of queues in RabbitMQ; a job's id is its tag."""

    def __init__(self, records: Redis, takers: Mapping[str, Taker], settings: WorkerSettings, name: str) -> None:
        self.source = AmqpSource(records, settings.lease_s)
        self._takers = takers
        self._lease_s = settings.lease_s
        self._urls = settings.queue_url.split(";")
        self._name = name
        self._connection: Connection | None = None
        self._consumers: dict[str, Consumer] = {}
        #: Held while consumers are changed.
        self._adjusting = asyncio.Lock()
        self._held: dict[str, _Held] = {}
        #: Delivered in this turn of the event loop, by endpoint and the priority of its queue.
        self._new: dict[tuple[str, Priority], list[QueuedJob]] = {}
        self._rung = asyncio.Event()
        self._background: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def leases_are_beside_records(self) -> bool:
        """Whether the step that writes records can end leases too: RabbitMQ has to be told."""
        return False

    @property
    def held(self) -> list[str]:
        """The ids of all jobs whose messages this worker holds."""
        return [job_id for job_id, held in self._held.items() if not held.stale]

    def ring(self, _endpoint_name: str) -> None:
        """Have the prefetches looked at soon."""
        self._rung.set()

    def made_room(self, _endpoint_name: str) -> None:
        """Do nothing: RabbitMQ sends more as jobs are acknowledged."""

    def keeps(self, job: QueuedJob) -> bool:
        """Whether a job that waits is still this worker's; if not, RabbitMQ gives it to somebody again."""
        held = self._held.get(job.job_id)
        if held is None or held.stale:
            self._held.pop(job.job_id, None)
            return False
        return True

    def let_go(self, tags: Iterable[str]) -> None:
        """Do nothing: no lease ends but by `ack`."""

    async def ack(self, jobs: Iterable[QueuedJob]) -> None:
        """Let go of jobs that have terminal records."""
        await self._let_go(
            [job.job_id for job in jobs], lambda held: held.channel.basic_ack(held.delivery_tag, wait=False)
        )

    async def give_back(self, tags: list[str]) -> None:
        """Put jobs back into their queues, for another worker or another time."""
        # Before it: who still consumes gets them again at once.
        await self._adjust({held.endpoint_name for tag in tags if (held := self._held.get(tag))})
        await self._let_go(tags, lambda held: held.channel.basic_nack(held.delivery_tag, requeue=True, wait=False))

    async def depths(self, endpoint_names: Sequence[str]) -> dict[str, int]:
        """Return how many jobs of each endpoint nobody has fetched."""
        return await self.source.depths(endpoint_names)

    async def run(self) -> None:
        """Consume until closed; connect again whenever the connection is lost."""
        attempt = 0
        while not self._closed:
            try:
                await self._consume(self._urls[attempt % len(self._urls)])
            except BrokerGone as error:
                _log.warning("can't take jobs from RabbitMQ (%s); trying again", error)
                attempt += 1
            except Exception:  # noqa: BLE001 - the fetching must go on
                _log.exception("jobs can't be taken from RabbitMQ")
            if not self._closed:
                await asyncio.sleep(_PAUSE_S)

    async def listen(self) -> None:
        """Return at once: RabbitMQ sends jobs by itself."""

    async def renew(self) -> None:
        """Say regularly which jobs this worker holds, until cancelled."""
        while True:
            await asyncio.sleep(self._lease_s / 4)
            try:
                held = self.held
                for start in range(0, max(1, len(held)), _RENEWED_AT_ONCE):
                    await self.source.renew(held[start : start + _RENEWED_AT_ONCE])
            except (RedisError, OSError) as error:
                _log.warning("can't say which jobs are held (%s); trying again", error)

    async def close(self) -> None:
        """Consume nothing any more; what was on its way has been delivered when this returns."""
        self._closed = True
        self._rung.set()
        await self._adjust(set(self._consumers))
        self._hand_over()

    async def disconnect(self) -> None:
        """End the connection, once RabbitMQ has seen every acknowledgement."""
        while self._background:
            await asyncio.wait(self._background)
        for consumer in self._consumers.values():
            try:
                await consumer.flush()
            except BrokerGone as error:
                _log.warning("acknowledgements may be lost: %s", error)
        if self._connection is not None:
            await amqp_connection.close(self._connection)

    async def _consume(self, url: str) -> None:
        heartbeat_s = max(_SHORTEST_HEARTBEAT_S, round(self._lease_s / 2))
        connection = self._connection = await amqp_connection.connect(url, heartbeat_s, self._name)
        _log.info("taking jobs from RabbitMQ")
        lost = connection.closing
        while not lost.done() and not self._closed:
            self._rung.clear()
            await self._adjust({*self._takers, *self._consumers})
            rung = asyncio.ensure_future(self._rung.wait())
            await asyncio.wait({lost, rung}, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            rung.cancel()
        if not self._closed:
            self._connection = None
            self._consumers.clear()
            await amqp_connection.close(connection)
            raise BrokerGone("the connection was lost")

    async def _adjust(self, endpoint_names: Iterable[str]) -> None:
        """Have each of these endpoints consume as much as it can use."""
        async with self._adjusting:
            for name in endpoint_names:
                try:
                    await self._adjust_one(name)
                except BrokerGone as error:
                    # Another channel is opened at the next look, if not another connection.
                    _log.warning("endpoint %s can't be consumed (%s); trying again", name, error)
                    self._consumers.pop(name, None)

    async def _adjust_one(self, name: str) -> None:
        taker, consumer = self._takers.get(name), self._consumers.get(name)
        prefetch = taker.capacity if taker and not self._closed else 0
        if consumer is None:
            if not prefetch or self._connection is None:
                return
            consumer = self._consumers[name] = Consumer(self._connection, name, self._arrived)
        await consumer.want(prefetch, taker.delayed if taker else 0)
        if taker is None and not any(held.channel is consumer.channel for held in self._held.values()):
            await consumer.close()
            del self._consumers[name]

    def _arrived(self, consumer: Consumer, level: Priority, message: DeliveredMessage) -> None:
        name = consumer.endpoint_name
        envelope = _envelope(name, level, message)
        stored = envelopes.stored(envelope, default=str)
        held = _Held(name, message.channel, message.delivery_tag or 0)
        try:
            job = parse(str(envelope.headers.get("id")), name, stored, envelope)
        except MessageUnreadable as error:
            _log.error("put aside a message of queue %s: %s", queue_name(name), error)
            self._in_background(self._put_aside(held, stored))
            return
        known = self._held.get(job.job_id)
        if known is not None and not known.stale:
            # A job that is here already and was sent once more: one run is enough.
            self._in_background(_quietly(held.channel.basic_ack(held.delivery_tag, wait=False)))
            return
        self._held[job.job_id] = held
        if known is None:
            if not self._new:
                asyncio.get_running_loop().call_soon(self._hand_over)
            self._new.setdefault((name, level), []).append(job)

    def _hand_over(self) -> None:
        """Give endpoints what was delivered for them."""
        new, self._new = self._new, {}
        for (name, level), jobs in new.items():
            self._in_background(_told(self.source.took(queue_name(name, level), jobs)))
            taker = self._takers.get(name)
            if taker is None:
                self._in_background(self.give_back([job.job_id for job in jobs]))
                continue
            taker.receive(jobs)
            if any(job.not_before for job in jobs):
                self._rung.set()

    async def _put_aside(self, held: _Held, message: bytes) -> None:
        await persistently("put aside a message", lambda: self.source.put_aside(message))
        await _quietly(held.channel.basic_ack(held.delivery_tag, wait=False))

    async def _let_go(self, job_ids: list[str], how: Any) -> None:
        for job_id in job_ids:
            held = self._held.pop(job_id, None)
            if held is not None and not held.stale:
                await _quietly(how(held))
        if job_ids:
            self._in_background(_told(self.source.let_go(job_ids)))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _envelope(endpoint_name: str, level: Priority, message: DeliveredMessage) -> Envelope:
    """A message from the queue of a level as it would stand in Redis."""
    properties = message.header.properties
    kept = {each: value for each in _KEPT if (value := getattr(properties, each)) is not None}
    if level is Priority.NORMAL:
        level = priorities.of_number(properties.priority or 0, amqp=True)
    queue = queue_name(endpoint_name, level)
    return envelopes.wrap(queue, message.body, properties.content_type, dict(properties.headers or {}), kept)


async def _quietly(settling: Awaitable[None]) -> None:
    """Acknowledge or give back; on a connection that is just being lost RabbitMQ gives it back by itself."""
    try:
        with gone():
            await settling
    except BrokerGone as error:
        _log.info("a message comes again: %s", error)


async def _told(telling: Coroutine[Any, Any, None]) -> None:
    """Tell Redis what is held. Not told, it is told at the next renewal, or a lease runs out by itself."""
    try:
        await telling
    except (RedisError, OSError) as error:
        _log.warning("can't say which jobs are held: %s", error)
