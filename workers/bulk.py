"""Accepting many jobs in one call: in chunks, each of them stored in one step or not at all.

The first chunk stands for the whole call: a full queue or a conflict refuses it before anything is stored, and what
others submit meanwhile stops none of the later chunks. A chunk that may or may not have been stored is sent again:
a job that is there already stays as it is.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from typing import Any
from uuid import UUID

import redis

from registry import names
from workers import broker, keys, places, prepared_messages, priorities, records, tracing
from workers.bulk_script import ACCEPT
from workers.documents import queued
from workers.errors import (
    BulkInterrupted,
    BulkTooLarge,
    IdempotencyConflict,
    JobArgumentsWrong,
    QueueFull,
    QueueUnavailable,
)
from workers.job_ids import new_id
from workers.prepared_messages import Call
from workers.priorities import Priority
from workers.queues import queue_name
from workers.redis_client import records_client, script, translated_errors
from workers.settings import load
from workers.submission import SENDING_S, STILL_SENDING, Idempotency, Limits, digest, said
from workers.webhooks import outbox

_Value = bytes | str | float
#: More are refused: they, and their ids, are in memory at once.
MAX_JOBS = 100_000
#: Redis does nothing else while it stores a chunk: for about two milliseconds.
CHUNK_JOBS = 200
#: The same for long inputs, in JSON.
CHUNK_BYTES = 1_000_000
#: How often a chunk is sent until its call is given up.
_TRIES = 2
_NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a call: `{"input": …}` or `{"inputs": […]}`, and what of the rest is not as with the others."""

    rows: Mapping[str, Any]
    expires_in_s: float | None = None
    priority: Priority | None = None
    callback_url: str | None = None


def submit(  # noqa: PLR0913 - what makes jobs, each by name
    endpoint_name: str,
    jobs: Sequence[Job],
    *,
    limits: Limits = _NO_LIMITS,
    idempotency: Idempotency | None = None,
    owner: str | None = None,
    callback_url: str | None = None,
    **options: Any,
) -> list[str]:
    """Store many jobs and send their messages; return their ids in the same order.

    `options` are those of Celery's `apply_async`, for all of them alike, and so is their `owner`. Under an
    idempotency key that was used before for the same request, what is missing of it is stored, and the ids are
    the same.

    Raises:
        JobArgumentsWrong: an input can't be said in JSON, or an option means nothing; nothing was stored.
        TargetRefused: nothing can be told to a `callback_url`; nothing was stored.
        BulkTooLarge: there are more jobs than one call may have, or than the endpoint ever takes.
        QueueFull: the endpoint has no room for all of them; nothing was stored.
        IdempotencyConflict: the key was used for another request; nothing was stored.
        QueueUnavailable: Redis can't be reached; nothing was stored.
        BulkInterrupted: Redis or the broker was lost on the way; tells which jobs are stored.
    """
    if not names.could_exist(endpoint_name):
        raise JobArgumentsWrong(f"No endpoint can have the name {str(endpoint_name)[:100]!r}.")
    most = MAX_JOBS if limits.max_queue_length is None else min(MAX_JOBS, limits.max_queue_length)
    if len(jobs) > most:
        raise BulkTooLarge(len(jobs), most)
    with tracing.sending(endpoint_name, None, options, len(jobs)) as traceparent:
        callbacks = _callbacks(jobs, callback_url)
        call = _Bulk(endpoint_name, jobs, limits, idempotency, options, traceparent, owner, callbacks)
        if jobs:
            with translated_errors():
                records_client().ping()
            call.run()
        return call.job_ids


class _Bulk:
    """One call on its way."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self,
        endpoint_name: str,
        jobs: Sequence[Job],
        limits: Limits,
        idempotency: Idempotency | None,
        options: Mapping[str, Any],
        traceparent: str | None,
        owner: str | None,
        callbacks: Mapping[int, str],
    ) -> None:
        self._endpoint_name = endpoint_name
        self._max_queue_length = limits.max_queue_length
        self._expires_in_s = [job.expires_in_s or limits.expires_in_s for job in jobs]
        own_expiry = any(each is not None for each in self._expires_in_s)
        self._prepared = prepared_messages.prepare(options, expires=own_expiry, traced=traceparent is not None)
        self._traceparent = traceparent
        self._owner = owner
        self._callbacks = callbacks
        common = priorities.of_option(options.get("priority"), amqp=load().broker_is_amqp)
        self._levels = [job.priority or common for job in jobs]
        self._arguments = [_arguments(endpoint_name, job.rows) for job in jobs]
        self._scope = None if idempotency is None else digest(idempotency.key.encode())
        self._digest = "" if idempotency is None else digest(b"bulk\n" + idempotency.request)
        self._name = os.urandom(16).hex()
        ids = _random_ids() if self._scope is None else _ids_of(f"{self._scope} {self._digest}")
        self.job_ids = list(islice(ids, len(jobs)))

    def run(self) -> None:
        """Store and send all jobs, chunk by chunk."""
        for chunk in self._chunks():
            messages = self._store(chunk)
            if not load().queues_beside_records:
                self._send(chunk, messages)

    def _chunks(self) -> Iterator[range]:
        start = size = 0
        for number, each in enumerate(self._arguments):
            size_of_job = sum(map(len, each))
            if number > start and (number - start == CHUNK_JOBS or size + size_of_job > CHUNK_BYTES):
                yield range(start, number)
                start, size = number, 0
            size += size_of_job
        yield range(start, len(self._arguments))

    def _store(self, chunk: range) -> dict[int, bytes]:
        """Store a chunk; return the messages of its jobs that are new, by their numbers in the call."""
        names, values, envelopes = self._fixed_keys(), self._fixed_values(chunk), []
        now, beside = time.time(), load().queues_beside_records
        for number in chunk:
            # A microsecond apart, so that lists by time have them in order.
            job_id, at = self.job_ids[number], now + (number - chunk.start) / 1e6
            level, expires_in_s = self._levels[number], self._expires_in_s[number]
            args, kwargs = self._arguments[number]
            differs = at, expires_in_s, self._traceparent, self._owner, level
            envelope, expires_at = self._prepared.envelope(Call(job_id, self._endpoint_name, args, kwargs, *differs))
            envelopes.append(envelope)
            names += keys.record(job_id), keys.message(job_id)
            record = queued(job_id, self._endpoint_name, at, expires_at, self._owner, level)
            queue = queue_name(self._endpoint_name, level) if beside else ""
            values += job_id, record, envelope, at, "" if expires_at is None else expires_at, queue
            values.append(places.level_score(level, at))
        for number in chunk if self._callbacks else ():
            if callback := self._callbacks.get(number):
                values += self.job_ids[number], callback
        what, *more = self._answer(chunk, names, values)
        self._refuse_unless_accepted(what.decode(), more)
        return {chunk[number]: envelopes[number] for number in more}

    def _answer(self, chunk: range, names: list[str], values: list[_Value]) -> list[Any]:
        for left in reversed(range(_TRIES)):
            try:
                answer: list[Any] = script(records_client(), ACCEPT)(names, values)
            except redis.RedisError as error:
                if not left:
                    stored, unknown = self.job_ids[: chunk.start], self.job_ids[chunk.start : chunk.stop]
                    raise BulkInterrupted(len(self.job_ids), stored, unknown) from error
            else:
                return answer
        raise AssertionError("every try returns or raises")

    def _refuse_unless_accepted(self, what: str, more: list[Any]) -> None:
        if what == "full":
            raise QueueFull(self._endpoint_name, int(more[0]), len(self.job_ids))
        if what == "conflict":
            raise IdempotencyConflict(more[0].decode())
        if what == "sending":
            raise QueueUnavailable(STILL_SENDING)

    def _send(self, chunk: range, messages: Mapping[int, bytes]) -> None:
        """Send what was stored to a broker elsewhere; what that doesn't take is taken back."""
        sent = set[int]()
        try:
            for level in Priority:
                self._send_level(level, messages, sent)
        except QueueUnavailable as error:
            unsent = messages.keys() - sent
            with suppress(redis.RedisError):  # then the sweeper sends them again
                for number in unsent:
                    records.forget_queued(self.job_ids[number], self._endpoint_name)
                self._sent()
            stored = [None if number in unsent else self.job_ids[number] for number in range(chunk.stop)]
            while stored and stored[-1] is None:
                stored.pop()
            raise BulkInterrupted(len(self.job_ids), stored, []) from error
        with translated_errors():
            self._sent()

    def _send_level(self, level: Priority, messages: Mapping[int, bytes], sent: set[int]) -> None:
        """Send the messages of one level, and note in `sent` the numbers of those that the broker has."""
        numbers, taken = [number for number in messages if self._levels[number] is level], set[int]()
        if not numbers:
            return
        try:
            with translated_errors():
                broker.send_many(queue_name(self._endpoint_name, level), [messages[each] for each in numbers], taken)
        finally:
            sent.update(numbers[at] for at in taken)

    def _sent(self) -> None:
        if self._scope is not None:
            records_client().delete(keys.sending(self._scope))

    def _fixed_keys(self) -> list[str]:
        beside = load().queues_beside_records
        return [
            keys.levels(self._endpoint_name),
            keys.unfinished(self._endpoint_name),
            keys.recent(self._endpoint_name),
            keys.ENDPOINTS,
            keys.EXPIRING,
            keys.LIMITS,
            "" if self._scope is None else keys.idempotency(self._scope),
            "" if self._scope is None or beside else keys.sending(self._scope),
            keys.CALLBACKS,
        ]

    def _fixed_values(self, chunk: range) -> list[_Value]:
        settings = load()
        return [
            self._endpoint_name,
            settings.unfinished_ttl_s,
            settings.recent_jobs,
            "" if self._max_queue_length is None else self._max_queue_length,
            0 if chunk.start else len(self.job_ids),
            self._digest,
            settings.result_ttl_s,
            self.job_ids[0],
            self._name,
            SENDING_S,
            keys.record(""),
            len(chunk),
        ]


def _callbacks(jobs: Sequence[Job], common_url: str | None) -> dict[int, str]:
    """Where the ends of jobs are to be told, by their numbers in the call. Raises TargetRefused."""
    urls = {number: url for number, job in enumerate(jobs) if (url := job.callback_url or common_url) is not None}
    callback_of = {url: outbox.callback(url) for url in set(urls.values())}
    return {number: callback_of[url] for number, url in urls.items()}


def _arguments(endpoint_name: str, rows: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The args and kwargs of a job, in JSON."""
    if "input" in rows:
        return said((endpoint_name, rows["input"])), b"{}"
    return said((endpoint_name,)), said({"inputs": rows["inputs"]})


def _random_ids() -> Iterator[str]:
    while True:
        yield new_id()


def _ids_of(request: str) -> Iterator[str]:
    """The same ids for the same request."""
    for number in count():
        content = hashlib.sha256(f"{request} {number}".encode()).digest()
        yield str(UUID(bytes=content[:16], version=5))
