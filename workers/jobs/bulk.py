"""Accepts many jobs in one call, in chunks: a chunk is stored whole or not at all.

The first chunk stands for the whole call: a full queue or a conflict refuses it before anything is stored, and what
others submit meanwhile stops none of the later chunks. A chunk that may or may not have been stored is sent again:
a job that is there already stays as it is.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from typing import Any
from uuid import UUID

import redis

from registry import names
from workers import keys
from workers.broker import broker_client
from workers.errors import (
    BulkInterrupted,
    BulkTooLarge,
    JobArgumentsWrong,
    QueueUnavailable,
)
from workers.jobs import prepared_messages, transitions, weights
from workers.jobs.accept import (
    Idempotency,
    Limits,
    PreparedJob,
    Request,
    default_options,
    digest,
    encode_arguments,
    end_sending,
    refuse_if_not_first,
    store,
)
from workers.jobs.endings import outbox
from workers.jobs.job import NO_OPTIONS, Job, JobOptions
from workers.platform.ids import new_id
from workers.platform.redis.client import UNREACHABLE, is_wrong_type, records_client, translated_errors
from workers.queues import delayed
from workers.queues.naming import queue_name
from workers.queues.priorities import Priority
from workers.settings import load
from workers.tracing import spans

#: More are refused: they, and their ids, are in memory at once.
MAX_JOBS = 100_000
#: Redis does nothing else while it stores a chunk: for about two milliseconds.
CHUNK_JOBS = 200
#: The same for long inputs, in JSON.
CHUNK_BYTES = 1_000_000
#: A key's random number has to be there as long as the key, which is written after it.
_SEED_LIVES_LONGER_S = 600
#: How often a chunk is sent until its call is given up.
_TRIES = 2
_NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class NewJob:
    """One job of a call: `{"input": …}` or `{"inputs": […]}`, and options where they are not those of the others."""

    rows: Mapping[str, Any]
    options: JobOptions = NO_OPTIONS


def submit(  # noqa: PLR0913 - what makes jobs, each by name
    endpoint_name: str,
    jobs: Sequence[NewJob],
    *,
    limits: Limits = _NO_LIMITS,
    idempotency: Idempotency | None = None,
    owner: str | None = None,
    options: JobOptions = NO_OPTIONS,
    **celery_options: Any,
) -> list[str]:
    """Store many jobs and send their messages; return their ids in the same order.

    `options` are those of jobs without their own, `celery_options` those of Celery's `apply_async`; they and the
    `owner` are common to all jobs. Under an idempotency key that was used before for the same request, what is missing
    of it is stored, and the ids are the same.

    Raises:
        JobArgumentsWrong: an input is not JSON-serializable, or an option means nothing; nothing was stored.
        TargetRefused: nothing can be told to a `callback_url`; nothing was stored.
        BulkTooLarge: there are more jobs or bytes than one call may have, or than the endpoint can ever hold.
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
    with spans.sending(endpoint_name, None, celery_options, len(jobs)) as traceparent:
        common = options.over(default_options(celery_options, limits))
        call = _Bulk(endpoint_name, jobs, limits, idempotency, common, celery_options, traceparent, owner)
        if jobs:
            with translated_errors(changes=False):
                call.name_jobs()
            call.run()
        return call.job_ids


class _Bulk:
    """One call on its way."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self,
        endpoint_name: str,
        jobs: Sequence[NewJob],
        limits: Limits,
        idempotency: Idempotency | None,
        common: JobOptions,
        celery_options: Mapping[str, Any],
        traceparent: str | None,
        owner: str | None,
    ) -> None:
        self._endpoint_name = endpoint_name
        self._limits = limits
        self._options = [job.options.over(common) for job in jobs]
        self._callbacks = _callbacks(self._options)
        own_expiry = any(each.expires_in_s is not None for each in self._options)
        self._prepared = prepared_messages.prepare(celery_options, expires=own_expiry, traced=traceparent is not None)
        #: When the jobs are due (s since the epoch); None if they are not delayed.
        self._not_before = delayed.waits_until(self._prepared.not_before)
        self._traceparent = traceparent
        self._owner = owner
        self._arguments = [_arguments(endpoint_name, job.rows) for job in jobs]
        #: Of the whole call: the approximate bytes of its messages, and its number of high-priority jobs.
        self._bytes = weights.about_bytes(self._arguments)
        self._high = sum(each.priority is Priority.HIGH for each in self._options)
        self._scope = None if idempotency is None else digest(idempotency.key.encode())
        self._content = b"" if idempotency is None else idempotency.request
        self._call_id = os.urandom(16).hex()
        self.job_ids: list[str] = []

    def name_jobs(self) -> None:
        """Give the jobs their ids: those that Redis has for this idempotency key, if there is one.

        Raises:
            redis.RedisError: Redis can't be reached; no job is stored.
        """
        request_digest = ""
        if self._scope is None:
            records_client().ping()
            ids = _random_ids()
        else:
            request_digest, ids = _ids_under(self._scope, self._content)
        self.job_ids = list(islice(ids, len(self._arguments)))
        self._request = self._request_of(request_digest)

    def _request_of(self, request_digest: str) -> Request:
        about = len(self.job_ids), self._bytes, self._high
        return Request(
            endpoint_name=self._endpoint_name,
            owner=self._owner,
            not_before=self._not_before,
            call_id=self._call_id,
            first_id=self.job_ids[0],
            room=weights.asked(*about, owner=self._owner, max_queue_bytes=self._limits.max_queue_bytes),
            max_queue_length=self._limits.max_queue_length,
            scope=self._scope,
            digest=request_digest,
            repeats="call",
        )

    def run(self) -> None:
        """Store and send all jobs, chunk by chunk."""
        for chunk in self._chunks():
            messages = self._store(chunk)
            if self._not_before is None and not load().queues_beside_records:
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
        now = time.time()
        # A microsecond apart, so that lists by time have them in order.
        new = [self._new_job(number, now + at / 1e6) for at, number in enumerate(chunk)]
        what, *more = self._answer(chunk, new)
        self._refuse_unless_accepted(what.decode(), more)
        return {chunk[at]: new[at].envelope for at in more[3:]}

    def _new_job(self, number: int, submitted_at: float) -> PreparedJob:
        options = self._options[number]
        expires_at = self._prepared.expires_at(submitted_at, options.expires_in_s)
        about = self.job_ids[number], self._endpoint_name, submitted_at, expires_at
        job = Job.accepted(*about, self._not_before, self._owner, options)
        envelope = self._prepared.envelope(job, *self._arguments[number], self._traceparent)
        return PreparedJob(job, envelope, self._callbacks.get(options.callback_url, ""))

    def _answer(self, chunk: range, new: Sequence[PreparedJob]) -> list[Any]:
        for left in reversed(range(_TRIES)):
            try:
                return store(self._request, new, asks_for_room=not chunk.start)
            except redis.RedisError as error:
                wrong_type = is_wrong_type(error)  # nothing is stored then, nor will be at another try
                if wrong_type and not chunk.start:
                    raise QueueUnavailable(UNREACHABLE) from error
                if wrong_type or not left:
                    unknown = [] if wrong_type else self.job_ids[chunk.start : chunk.stop]
                    raise BulkInterrupted(len(self.job_ids), self.job_ids[: chunk.start], unknown) from error
        raise AssertionError("every try returns or raises")

    def _refuse_unless_accepted(self, what: str, more: list[Any]) -> None:
        refuse_if_not_first(what, more)
        if what != "accepted":
            numbers = [int(each) for each in more if each.isdigit()]
            of_call = {"jobs": len(self.job_ids), "size_bytes": self._bytes, "high": self._high}
            weights.refuse_if_full(self._endpoint_name, what, numbers, **of_call)

    def _send(self, chunk: range, messages: Mapping[int, bytes]) -> None:
        """Send what was stored to a broker elsewhere; what that doesn't take is taken back."""
        sent = set[int]()
        try:
            for priority in Priority:
                self._send_priority(priority, messages, sent)
        except QueueUnavailable as error:
            unsent = sorted(messages.keys() - sent)
            # As with one job: what the broker may have keeps its record, and the sweeper sends it if need be.
            unconfirmed = unsent if isinstance(error.__cause__, broker_client.SendUnconfirmed) else []
            with suppress(redis.RedisError):  # then the sweeper sends them all
                for number in unsent if not unconfirmed else ():
                    transitions.forget_queued(self.job_ids[number], self._endpoint_name)
                end_sending(self._scope)
            stored = [None if number in unsent else self.job_ids[number] for number in range(chunk.stop)]
            while stored and stored[-1] is None:
                stored.pop()
            raise BulkInterrupted(len(self.job_ids), stored, [self.job_ids[each] for each in unconfirmed]) from error
        with suppress(redis.RedisError):  # it ends by itself
            end_sending(self._scope)

    def _send_priority(self, priority: Priority, messages: Mapping[int, bytes], sent: set[int]) -> None:
        """Send the messages of one priority, and note in `sent` the numbers of those that the broker has."""
        numbers, taken = [number for number in messages if self._options[number].priority is priority], set[int]()
        if not numbers:
            return
        try:
            with translated_errors():
                queue = queue_name(self._endpoint_name, priority)
                broker_client.send_many(queue, [messages[each] for each in numbers], taken)
        finally:
            sent.update(numbers[at] for at in taken)


def _callbacks(options: Iterable[JobOptions]) -> dict[str | None, str]:
    """Where the ends of jobs are to be told, by their callback URLs. Raises TargetRefused."""
    return {url: outbox.callback(url) for url in {each.callback_url for each in options} if url is not None}


def _arguments(endpoint_name: str, rows: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The args and kwargs of a job, in JSON."""
    if "input" in rows:
        return encode_arguments((endpoint_name, rows["input"])), b"{}"
    return encode_arguments((endpoint_name,)), encode_arguments({"inputs": rows["inputs"]})


def _random_ids() -> Iterator[str]:
    while True:
        yield new_id()


def _ids_under(scope: str, request: bytes) -> tuple[str, Iterator[str]]:
    """The digest of a request under an idempotency key, and ids that are the same at each repeat.

    They follow from a random number that Redis keeps with the key, so that they can't be computed from the
    request. Releases without it computed them from the request alone; what they have stored keeps its ids. They take
    the digest for another request's, and so store no second time what is stored here.
    """
    with records_client().pipeline(transaction=False) as pipeline:
        pipeline.set(keys.seed(scope), os.urandom(16).hex(), nx=True, ex=load().result_ttl_s + _SEED_LIVES_LONGER_S)
        pipeline.get(keys.seed(scope))
        pipeline.get(keys.idempotency(scope))
        _, seed, known = pipeline.execute()
    earlier = digest(b"bulk\n" + request)
    [first] = islice(_ids_of(f"{scope} {earlier}", version=5), 1)
    if known == f"{earlier} {first}".encode():
        return earlier, _ids_of(f"{scope} {earlier}", version=5)
    now = digest(b"jobs\n" + request)
    return now, _ids_of(f"{seed.decode()} {now}", version=4)


def _ids_of(request: str, version: int) -> Iterator[str]:
    """The same ids for the same request."""
    for number in count():
        content = hashlib.sha256(f"{request} {number}".encode()).digest()
        yield str(UUID(bytes=content[:16], version=version))
