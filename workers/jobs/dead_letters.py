"""The dead-letter store: jobs that were given up, each with its message and the reason of every attempt.

The message is kept as it was sent, so that a replay is the same call again: to the same endpoint or to
another one, as a new job.

The inputs of jobs that have failed otherwise are kept as such letters too (`Kind.FAILED`), by the step that ends the
job (`lua/keep_inputs.lua`): within limits, and only as long as the record. They are in a list of their own, so that
what operators count, and are alerted of, are the jobs that were given up.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from redis.asyncio import Redis as AsyncRedis

from workers import keys
from workers.errors import DeadLetterNotFound, IdempotencyConflict, JobArgumentsWrong
from workers.jobs import query, records
from workers.jobs.accept import Idempotency, Limits
from workers.jobs.job import Failure, JobOptions
from workers.jobs.query import JobView
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client, translated_errors
from workers.queues import arguments, envelopes
from workers.queues.envelopes import EnvelopeUnreadable
from workers.queues.priorities import Priority

#: Letters in a round trip: each may have megabytes.
_PAGE = 50
#: What Redis needs for a kept input beside its letter, about.
BYTES_BESIDE_INPUT = 512
#: The share of the bytes of all kept inputs that one endpoint may have.
SHARE_OF_ENDPOINT = 0.25
#: Of the bytes that one queue may have by default, an eighth of Redis's memory, all kept inputs together may have this.
SHARE_OF_QUEUE_BYTES = 0.25
#: Most inputs that one step deletes to make room, as it blocks Redis.
MOST_FORGOTTEN = 1_000
_LONGEST_REASON = 500

_KEEP = Lua("workers.jobs", "keep_dead_letter")

_DISCARD = Lua("workers.jobs", "discard_dead_letter")


class Kind(StrEnum):
    """Why there is a letter."""

    #: Every attempt lost its host or worker. It is kept until it is replayed or discarded.
    GIVEN_UP = "given_up"
    #: The job failed at a host, and the deployment keeps the inputs of such jobs. It is kept as long as the record.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that was given up, or has failed; times in seconds since the epoch."""

    job_id: str
    endpoint_name: str
    message: bytes
    failures: Sequence[Failure]
    submitted_at: float | None
    #: When it was given up or failed.
    given_up_at: float
    kind: Kind = Kind.GIVEN_UP
    #: Why it failed; of a job that was given up the `failures` tell.
    error: str = ""

    def document(self, *, with_input: bool = True) -> dict[str, Any]:
        """Return it as the HTTP API shows it, with the original input unless that isn't wanted."""
        found: dict[str, Any] = {
            "job_id": self.job_id,
            "endpoint_name": self.endpoint_name,
            "kind": self.kind.value,
            "reason": self.error or (self.failures[-1]["reason"] if self.failures else ""),
            "submitted_at": records.iso(self.submitted_at),
            "given_up_at": records.iso(self.given_up_at),
            "owner": self.owner,
            "priority": self.priority.value,
            "failures": [{**each, "at": records.iso(each["at"])} for each in self.failures],
        }
        return {**found, **self.rows()} if with_input else found

    @property
    def owner(self) -> str | None:
        """Whose job it was."""
        try:
            return envelopes.owner(envelopes.decode(self.message).headers)
        except EnvelopeUnreadable:
            return None

    @property
    def priority(self) -> Priority:
        """The priority that the job had, and its replay has; normal if the message can't be read."""
        try:
            return envelopes.decode(self.message).priority
        except EnvelopeUnreadable:
            return Priority.NORMAL

    def rows(self) -> dict[str, Any]:
        """Return the original input: `{"input": …}` or `{"inputs": […]}`; empty if it can't be read."""
        try:
            call = arguments.parse(*envelopes.decode(self.message).arguments())
        except (EnvelopeUnreadable, JobArgumentsWrong):
            return {}
        return {"inputs": call.rows} if call.many else {"input": call.rows[0]}


async def keep(client: AsyncRedis, letters: Sequence[DeadLetter]) -> None:
    """Store dead letters, also in a Redis that is full; storing one again changes nothing but its time."""
    names = [keys.DEAD_LETTERS, *(keys.dead_letter(letter.job_id) for letter in letters)]
    values = [value for letter in letters for value in (stored(letter), letter.given_up_at, letter.job_id)]
    await script(client, _KEEP)(names, values)


def get(job_id: str) -> DeadLetter:
    """Return one dead letter, of either kind.

    Raises:
        DeadLetterNotFound: there is none for this job.
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        found = cast("bytes | None", records_client().get(keys.dead_letter(job_id)))
    if found is None:
        raise DeadLetterNotFound(job_id)
    return _parsed(found)


def find(job_id: str) -> DeadLetter | None:
    """Return one dead letter, of either kind; None if there is none. Raises QueueUnavailable."""
    try:
        return get(job_id)
    except DeadLetterNotFound:
        return None


def count() -> int:
    """Return how many jobs were given up. Raises QueueUnavailable."""
    with translated_errors():
        return records_client().zcard(keys.DEAD_LETTERS)


def newest(endpoint_name: str | None = None, limit: int = 50, kind: Kind = Kind.GIVEN_UP) -> list[DeadLetter]:
    """Return the newest dead letters of a kind, of one endpoint or of all. Raises QueueUnavailable."""
    letters: list[DeadLetter] = []
    client, start = records_client(), 0
    of_kind = keys.DEAD_LETTERS
    if kind is Kind.FAILED:
        of_kind = keys.kept_inputs(endpoint_name) if endpoint_name else keys.KEPT_INPUTS
    with translated_errors():
        while len(letters) < limit:
            page = cast("list[bytes]", client.zrevrange(of_kind, start, start + _PAGE - 1))
            if not page:
                break
            ids = [each.decode() if kind is Kind.GIVEN_UP else _job_id_of(each) for each in page]
            values = cast("list[bytes | None]", client.mget([keys.dead_letter(each) for each in ids]))
            found = [each for value in values if value is not None and (each := _parsed(value)).kind is kind]
            letters += [each for each in found if endpoint_name in (None, each.endpoint_name)]
            start += _PAGE
    return letters[:limit]


def replay(job_id: str, endpoint_name: str | None = None, limits: Limits | None = None) -> JobView:
    """Submit a dead letter's input as a new job, to its endpoint or to another one, and discard the letter.

    Replayed twice at once, or again after a failure in between, it is one job.

    Raises:
        DeadLetterNotFound: there is none for this job, or it is being replayed to another endpoint.
        JobArgumentsWrong: its message can't be read.
        QueueFull, QueueUnavailable: the new job could not be stored; the letter is still there.
    """
    letter = get(job_id)
    rows = letter.rows()
    if not rows:
        raise JobArgumentsWrong(f"The message of dead letter {job_id} can't be read; there is nothing to replay.")
    target = endpoint_name or letter.endpoint_name
    # No caller's own key can be this one: it has a line break.
    once = Idempotency(f"replay\n{job_id}\n{letter.given_up_at}", target.encode())
    try:
        options = JobOptions(priority=letter.priority)
        job = query.submit(target, rows, limits or Limits(), once, owner=letter.owner, options=options)
    except IdempotencyConflict as error:
        raise DeadLetterNotFound(job_id) from error
    with suppress(DeadLetterNotFound):  # whoever replays it too was faster
        discard(job_id)
    return job


def discard(job_id: str) -> None:
    """Delete a dead letter for good.

    Raises:
        DeadLetterNotFound: there is none for this job.
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        client, name = records_client(), keys.dead_letter(job_id)
        found = cast("bytes | None", client.get(name))
        letter = None if found is None else _parsed(found)
        kept = letter is not None and letter.kind is Kind.FAILED
        member = f"{len(found or b'') + BYTES_BESIDE_INPUT} {letter.endpoint_name} {job_id}" if letter and kept else ""
        discarded = script(client, _DISCARD)([keys.DEAD_LETTERS, name], [job_id, member])
    if not discarded:
        raise DeadLetterNotFound(job_id)


def stored(letter: DeadLetter) -> bytes:
    """Return a letter as Redis keeps it."""
    return json.dumps(
        {
            "job_id": letter.job_id,
            "endpoint_name": letter.endpoint_name,
            "message": base64.b64encode(letter.message).decode(),
            "failures": list(letter.failures),
            "submitted_at": letter.submitted_at,
            "given_up_at": letter.given_up_at,
            "kind": letter.kind,
            "error": letter.error[:_LONGEST_REASON],
        }
    ).encode()


def _parsed(stored: bytes) -> DeadLetter:
    found = json.loads(stored)
    # By name: a newer release may say more.
    return DeadLetter(
        found["job_id"],
        found["endpoint_name"],
        base64.b64decode(found["message"]),
        found["failures"],
        found["submitted_at"],
        found["given_up_at"],
        Kind.FAILED if found.get("kind") == Kind.FAILED else Kind.GIVEN_UP,
        str(found.get("error") or ""),
    )


def _job_id_of(member: bytes) -> str:
    """Return the id of a job in the list of kept inputs."""
    return member.decode().split(" ", 2)[2]
