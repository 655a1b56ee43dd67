"""The notes in Redis of what is to be published: taken by one process at a time, until they are settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers import keys
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client
from workers.settings import load

#: Notes that one step takes.
TAKEN_AT_ONCE = 10
#: The shortest time after which a process that has not settled a note is lost, and others take the note.
_SHORTEST_LEASE_S = 5.0
#: The field of a note: since when the endpoint of its job has not existed (s, Redis clock).
UNKNOWN_SINCE = "unknown_since"
#: The scan of so many plans blocks Redis for half a millisecond.
_SCANNED_AT_ONCE = 200

_LEASE_DUE = Lua("workers.successors", "lease_due")
_SETTLE = Lua("workers.successors", "settle")
_POSTPONE = Lua("workers.successors", "postpone")
_KEEP_JOB = Lua("workers.successors", "keep_job")
_UNKNOWN_FOR = Lua("workers.successors", "unknown_for")
_BACKFILL = Lua("workers.successors", "backfill")


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be published after the end of a job, or a job to submit once its queue has room."""

    note_id: str
    #: The plan and the record of the ended job; empty if a job is to be submitted.
    plan: bytes
    record: bytes
    #: The job to submit (see `submission`); empty after the end of a job.
    job: bytes
    #: When it was noted (s, Redis clock).
    at: float
    #: How many times it was taken, this one included.
    tries: int
    #: Whether the endpoint of the job did not exist when it was last looked for.
    is_endpoint_unknown: bool = False


def lease_s() -> float:
    """Return for how long a note is taken: as long as jobs are, and never shortly, as it is not renewed."""
    return max(_SHORTEST_LEASE_S, load().lease_s)


def lease_due(most: int = TAKEN_AT_ONCE) -> Sequence[Note]:
    """Take notes that are due. Raises redis.RedisError."""
    found = script(records_client(), _LEASE_DUE)([keys.SUCCESSORS_DUE], [most, lease_s()])
    return [
        Note(note_id.decode(), plan, record, job, float(at), int(tries), is_endpoint_unknown=bool(unknown_since))
        for note_id, plan, record, job, at, tries, unknown_since in found
    ]


def settle(note_id: str) -> None:
    """Forget a note, all of which is published. Raises redis.RedisError."""
    script(records_client(), _SETTLE)([keys.SUCCESSORS_DUE, keys.successor_note(note_id)], [note_id])


def postpone(note_id: str, seconds: float) -> None:
    """Let a note be due again after a time. Raises redis.RedisError."""
    script(records_client(), _POSTPONE)([keys.SUCCESSORS_DUE], [note_id, seconds])


def keep_job(note_id: str, job: bytes, seconds: float, *, is_endpoint_unknown: bool = False) -> None:
    """Note a job to be submitted after a time, unless it is noted. Raises redis.RedisError."""
    names = [keys.SUCCESSORS_DUE, keys.successor_note(note_id)]
    script(records_client(), _KEEP_JOB)(names, [note_id, job, seconds, int(is_endpoint_unknown)])


def unknown_for_s(note_id: str) -> float:
    """Note that the endpoint of a kept job doesn't exist; return for how long it hasn't. Raises redis.RedisError."""
    return float(script(records_client(), _UNKNOWN_FOR)([keys.successor_note(note_id)], []))


def forget_unknown(note_id: str) -> None:
    """Note that the endpoint of a kept job exists. Raises redis.RedisError."""
    records_client().hdel(keys.successor_note(note_id), UNKNOWN_SINCE)


def backfill_some(cursor: int) -> int:
    """Note successors of jobs that an earlier release has ended, from `cursor` on (0 at first); return the next one.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    names = [keys.SUCCESSORS, keys.ENDPOINTS, keys.SUCCESSORS_UNRECORDED]
    return int(script(records_client(), _BACKFILL)(names, [cursor, _SCANNED_AT_ONCE, load().unfinished_ttl_s]))
