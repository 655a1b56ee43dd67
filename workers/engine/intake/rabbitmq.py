"""Receives jobs from RabbitMQ: each endpoint has a channel whose prefetch is the endpoint's capacity.

A message stays unacknowledged until its job's outcome is stored. When the connection is lost, RabbitMQ delivers the
message again, to another worker or to this one, and the earlier delivery can't be acknowledged any more. A running job
continues, and takes over the new delivery if it arrives here; a waiting job is dropped. Records ensure that a job that
two workers run has one outcome.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from aiormq import Connection
from aiormq.abc import AbstractChannel, DeliveredMessage
from redis import RedisError
from redis.asyncio import Redis

from workers.engine.intake import rabbitmq_connection
from workers.engine.intake.delays import Delays, early
from workers.engine.intake.messages import MessageUnreadable, QueuedJob, keep_successors
from workers.engine.intake.protocol import JobSink
from workers.engine.intake.rabbitmq_connection import BrokerGone, gone
from workers.engine.intake.rabbitmq_consumer import Consumer
from workers.engine.intake.rabbitmq_leases import AmqpSource
from workers.engine.intake.reading import read_at_once, read_with_care
from workers.engine.supervision import persistently
from workers.queues import envelopes, priorities
from workers.queues.envelopes import Envelope
from workers.queues.naming import queue_name
from workers.queues.priorities import Priority
from workers.settings import WorkerSettings

_log = logging.getLogger(__name__)

#: Interval of checks of the prefetches without notifications.
_CHECK_S = 1.0
_PAUSE_S = 0.5
_SHORTEST_HEARTBEAT_S = 2
_RENEWED_AT_ONCE = 1_000
#: Properties of a message that are kept with it.
_KEPT = ("priority", "correlation_id", "reply_to")


@dataclass(slots=True)
class _Held:
    """The last delivery of a job's message."""

    endpoint_name: str
    channel: AbstractChannel
    delivery_tag: int

    @property
    def stale(self) -> bool:
        """Whether the delivery can't be acknowledged any more."""
        return self.channel.is_closed


class AmqpIntake:
    """The `Intake` of queues in RabbitMQ; a job's id is its tag."""

    def __init__(self, records: Redis, sinks: Mapping[str, JobSink], settings: WorkerSettings, name: str) -> None:
        self.source = AmqpSource(records, settings.lease_s)
        self._records = records
        self._delays = Delays(records, leases_are_beside_records=False)
        self._sinks = sinks
        self._lease_s = settings.lease_s
        self._urls = settings.queue_url.split(";")
        self._name = name
        self._connection: Connection | None = None
        self._consumers: dict[str, Consumer] = {}
        #: Held while consumers are changed.
        self._adjusting = asyncio.Lock()
        self._held: dict[str, _Held] = {}
        #: Jobs delivered in this iteration of the event loop, by endpoint and queue priority.
        self._new: dict[tuple[str, Priority], list[QueuedJob]] = {}
        self._rung = asyncio.Event()
        #: Held while one message is read with care.
        self._reading = asyncio.Lock()
        self._background: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def leases_are_beside_records(self) -> bool:
        """False: messages are acknowledged in RabbitMQ, in a step of its own."""
        return False

    @property
    def held(self) -> list[str]:
        """The ids of all jobs whose deliveries this worker holds."""
        return [job_id for job_id, held in self._held.items() if not held.stale]

    @property
    def holder(self) -> str:
        """Empty: RabbitMQ tracks deliveries itself."""
        return ""

    async def is_leased(self, _tag: str) -> bool:
        """Return False: a job's id is its tag, so there is no other."""
        return False

    def ring(self, _endpoint_name: str) -> None:
        """Check the prefetches soon."""
        self._rung.set()

    async def forget_workers(self, _names: Sequence[str]) -> None:
        """Do nothing: RabbitMQ deletes their control queues itself."""

    def made_room(self, _endpoint_name: str) -> None:
        """Do nothing: RabbitMQ sends more as jobs are acknowledged."""

    def keeps(self, job: QueuedJob) -> bool:
        """Whether this worker still holds a waiting job; if not, RabbitMQ delivers it again."""
        held = self._held.get(job.job_id)
        if held is None or held.stale:
            self._held.pop(job.job_id, None)
            return False
        return True

    def let_go(self, tags: Iterable[str]) -> None:
        """Do nothing: leases end only by `ack`."""

    def ending(self, _tags: Sequence[str]) -> AbstractContextManager[None]:
        """Do nothing, as `let_go`."""
        return nullcontext()

    async def ack(self, jobs: Iterable[QueuedJob]) -> None:
        """Acknowledge jobs that have terminal records."""
        await self._let_go(
            [job.job_id for job in jobs], lambda held: held.channel.basic_ack(held.delivery_tag, wait=False)
        )

    async def give_back(self, tags: list[str]) -> None:
        """Return jobs to their queues."""
        # First adjust the prefetch: a channel that still consumes gets them again at once.
        await self._adjust({held.endpoint_name for tag in tags if (held := self._held.get(tag))})
        await self._let_go(tags, lambda held: held.channel.basic_nack(held.delivery_tag, requeue=True, wait=False))

    async def depths(self, endpoint_names: Sequence[str]) -> dict[str, int]:
        """Return the number of queued jobs of each endpoint."""
        return await self.source.depths(endpoint_names)

    async def drop_queues(self, endpoint_name: str) -> bool:
        """Delete the empty and unused queues of an endpoint; return whether all are deleted."""
        return await self.source.drop_queues(endpoint_name)

    async def run(self) -> None:
        """Consume until closed; reconnect whenever the connection is lost."""
        attempt = 0
        while not self._closed:
            try:
                await self._consume(self._urls[attempt % len(self._urls)])
            except BrokerGone as error:
                _log.warning("receiving jobs from RabbitMQ failed (%s); retrying", error)
                attempt += 1
            except Exception:  # noqa: BLE001 - fetching must continue
                _log.exception("unexpected error while receiving jobs from RabbitMQ")
            if not self._closed:
                await asyncio.sleep(_PAUSE_S)

    async def listen(self) -> None:
        """Return at once: RabbitMQ pushes jobs itself."""

    async def renew(self) -> None:
        """Renew the records of held jobs regularly, until cancelled."""
        while True:
            await asyncio.sleep(self._lease_s / 4)
            try:
                held = self.held
                for start in range(0, max(1, len(held)), _RENEWED_AT_ONCE):
                    await self.source.renew(held[start : start + _RENEWED_AT_ONCE])
            except (RedisError, OSError) as error:
                _log.warning("recording held jobs failed (%s); retrying", error)

    async def close(self) -> None:
        """Stop consuming; return when pending deliveries have been passed on."""
        self._closed = True
        self._rung.set()
        await self._adjust(set(self._consumers))
        self._hand_over()

    async def disconnect(self) -> None:
        """Close the connection after RabbitMQ has processed all acknowledgements."""
        while self._background:
            await asyncio.wait(self._background)
        for consumer in self._consumers.values():
            try:
                await consumer.flush()
            except BrokerGone as error:
                _log.warning("acknowledgements may be lost: %s", error)
        if self._connection is not None:
            await rabbitmq_connection.close(self._connection)

    async def _consume(self, url: str) -> None:
        heartbeat_s = max(_SHORTEST_HEARTBEAT_S, round(self._lease_s / 2))
        connection = self._connection = await rabbitmq_connection.connect(url, heartbeat_s, self._name)
        _log.info("receiving jobs from RabbitMQ")
        lost = connection.closing
        while not lost.done() and not self._closed:
            self._rung.clear()
            await self._adjust({*self._sinks, *self._consumers})
            rung = asyncio.ensure_future(self._rung.wait())
            await asyncio.wait({lost, rung}, timeout=_CHECK_S, return_when=asyncio.FIRST_COMPLETED)
            rung.cancel()
        if not self._closed:
            self._connection = None
            self._consumers.clear()
            await rabbitmq_connection.close(connection)
            raise BrokerGone("the connection was lost")

    async def _adjust(self, endpoint_names: Iterable[str]) -> None:
        """Set the prefetch of each of these endpoints to its capacity."""
        async with self._adjusting:
            for name in endpoint_names:
                try:
                    await self._adjust_one(name)
                except BrokerGone as error:
                    # The next check opens another channel, or another connection.
                    _log.warning("consuming the queues of %s failed (%s); retrying", name, error)
                    if (consumer := self._consumers.pop(name, None)) is not None:
                        self._in_background(_quietly(consumer.close()))

    async def _adjust_one(self, name: str) -> None:
        sink, consumer = self._sinks.get(name), self._consumers.get(name)
        prefetch = sink.capacity if sink and not self._closed else 0
        if consumer is None:
            if not prefetch or self._connection is None:
                return
            consumer = self._consumers[name] = Consumer(self._connection, name, self._arrived)
        await consumer.want(prefetch)
        held = {held.channel for held in self._held.values() if held.endpoint_name == name}
        await consumer.close_left(held)
        if sink is None and not held:
            await consumer.close()
            del self._consumers[name]

    def _arrived(self, consumer: Consumer, priority: Priority, message: DeliveredMessage) -> None:
        name = consumer.endpoint_name
        envelope = _envelope(name, priority, message)
        stored = envelopes.stored(envelope, default=str)
        held = _Held(name, message.channel, message.delivery_tag or 0)
        try:
            job = read_at_once("", name, stored, envelope)
        except MessageUnreadable as error:
            self._in_background(self._put_aside(held, stored, error))
            return
        if job is None:
            self._in_background(self._read_with_care(held, priority, stored, envelope))
        elif job.successors:
            self._in_background(self._accept_with_successors(job, priority, held))
        else:
            self._accept(job, priority, held)

    async def _read_with_care(self, held: _Held, priority: Priority, stored: bytes, envelope: Envelope) -> None:
        name, tag = held.endpoint_name, str(envelope.headers.get("id") or "")

        async def read() -> QueuedJob:
            return await read_with_care(self._records, tag, name, stored, envelope)

        async with self._reading:
            try:
                job = await persistently("read a message", read)
            except MessageUnreadable as error:
                await self._put_aside(held, stored, error)
                return
        await self._accept_with_successors(job, priority, held)

    async def _accept_with_successors(self, job: QueuedJob, priority: Priority, held: _Held) -> None:
        """Accept a job after what follows it is kept, so that no step can end it before."""
        await persistently("keep successors", lambda: keep_successors(self._records, [job]))
        if not held.stale:
            self._accept(job, priority, held)

    def _accept(self, job: QueuedJob, priority: Priority, held: _Held) -> None:
        name = held.endpoint_name
        known = self._held.get(job.job_id)
        if known is not None and not known.stale:
            # Acknowledge a second message of a job that is held: one run is enough.
            self._in_background(_quietly(held.channel.basic_ack(held.delivery_tag, wait=False)))
            return
        self._held[job.job_id] = held
        if known is None:
            if not self._new:
                asyncio.get_running_loop().call_soon(self._hand_over)
            self._new.setdefault((name, priority), []).append(job)

    def _hand_over(self) -> None:
        """Pass delivered jobs to their endpoints."""
        new, self._new = self._new, {}
        for (name, priority), jobs in new.items():
            self._in_background(_record_held(self.source.took(queue_name(name, priority), jobs)))
            sink = self._sinks.get(name)
            if sink is None:
                self._in_background(self.give_back([job.job_id for job in jobs]))
                continue
            if too_early := early(sink, jobs):
                self._in_background(self._delay(sink, name, [job for job in jobs if job in too_early]))
            if others := [job for job in jobs if job not in too_early]:
                sink.receive(others)

    async def _delay(self, sink: JobSink, endpoint_name: str, jobs: list[QueuedJob]) -> None:
        """Delay jobs that are not due, and acknowledge their messages afterwards.

        Until then they count as held, so that messages that are delivered again after a lost connection are
        acknowledged too.
        """
        due, settled = await persistently("delay jobs", lambda: self._delays.delay_for(sink, endpoint_name, jobs))
        await self.ack(settled)
        if due:
            sink.receive(due)

    async def _put_aside(self, held: _Held, message: bytes, why: MessageUnreadable) -> None:
        _log.error("put aside a message of queue %s: %s", queue_name(held.endpoint_name), why)
        await persistently("put aside a message", lambda: self.source.put_aside(message))
        await _quietly(held.channel.basic_ack(held.delivery_tag, wait=False))

    async def _let_go(self, job_ids: list[str], how: Any) -> None:
        for job_id in job_ids:
            held = self._held.pop(job_id, None)
            if held is not None and not held.stale:
                await _quietly(how(held))
        if job_ids:
            self._in_background(_record_held(self.source.let_go(job_ids)))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _envelope(endpoint_name: str, priority: Priority, message: DeliveredMessage) -> Envelope:
    """Return a message from a priority's queue in the form that it has in Redis."""
    properties = message.header.properties
    kept = {each: value for each in _KEPT if (value := getattr(properties, each)) is not None}
    if priority is Priority.NORMAL:
        priority = priorities.of_number(properties.priority or 0, amqp=True)
    queue = queue_name(endpoint_name, priority)
    return envelopes.wrap(queue, message.body, properties.content_type, dict(properties.headers or {}), kept)


async def _quietly(settling: Awaitable[None]) -> None:
    """Acknowledge or give back; if the connection is lost, RabbitMQ delivers the message again."""
    try:
        with gone():
            await settling
    except BrokerGone as error:
        _log.info("a message will be delivered again: %s", error)


async def _record_held(recording: Coroutine[Any, Any, None]) -> None:
    """Record in Redis which jobs are held. After an error, the next renewal records it, or the lease expires."""
    try:
        await recording
    except (RedisError, OSError) as error:
        _log.warning("recording held jobs failed: %s", error)
