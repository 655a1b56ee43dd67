"""The state changes of jobs. Each is one conditional step that can refuse, and a terminal state is final.

| change | from | to | made by |
|---|---|---|---|
| accept (`workers.jobs.accept`) | no record | queued | API, programs |
| claim | queued, no record, unreadable | running | workers |
| claim at fetch (`claim_fetched_values`) | queued | running | workers with a host that waits |
| claim again | running, with a lost attempt | running | workers |
| delay (`workers.engine.intake.delays`) | queued, no record, unreadable | queued, delayed | workers |
| requeue | running on this worker | queued | workers that stop |
| finish (also gives up) | queued, running, no record, unreadable | succeeded, failed, cancelled, expired | workers |
| withdraw | queued; running if forced | cancelled, expired | API, sweeper |
| withdraw queued (`workers.jobs.emptying`) | queued | cancelled | API |
| end unborn | no record | failed, expired | publishers of successors, for a job that was to follow one that failed |
| forget | queued | no record | the process whose message was not sent |

`docs/reference/job-states.md` says when each refuses and which keys it touches. The records are those of Celery's
result backend, so that `AsyncResult`, the HTTP API and Flower read the same. Scripts look at the status alone, which
`records` puts first. The API's calls block; those of the engine are coroutines.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import redis
from msgspec import Raw
from redis.asyncio import Redis

from workers import keys
from workers.errors import WorkerError
from workers.jobs import records
from workers.jobs.endings import successors
from workers.jobs.endings.journal import NOTHING_KEPT, JournalPart
from workers.jobs.job import Job, JobFacts
from workers.measures import counters, figures
from workers.platform.lua import Lua, script
from workers.platform.redis.client import is_wrong_type, records_client
from workers.queues.lease_holder import LEASE_HOLDER
from workers.settings import load

_log = logging.getLogger(__name__)

_CLAIM = Lua("workers.jobs", "claim")
_CLAIM_AGAIN = Lua("workers.jobs", "claim_again")
_FINISH = Lua("workers.jobs", "finish")
_END_UNBORN = Lua("workers.jobs", "end_unborn")
_FORGET = Lua("workers.jobs", "forget")
_KEEP_SUCCESSORS = Lua("workers.jobs", "keep_successors")
_LOST = Lua("workers.jobs", "refresh_lost")
_REQUEUE = Lua("workers.jobs", "requeue")
_WITHDRAW = Lua("workers.jobs", "withdraw")
_WITHDRAW_QUEUED = Lua("workers.jobs", "withdraw_queued")

#: Ended jobs are published with their records if those have at most so many bytes together.
PUBLISHED_BYTES = 32_768


def forget_queued(job_id: str, endpoint_name: str, scope: str | None = None) -> None:
    """Take back a job that was recorded but whose message could not be sent (`scope`: of its idempotency key)."""
    names = [keys.record(job_id), keys.message(job_id), keys.unfinished(endpoint_name)]
    names += [keys.recent(endpoint_name), keys.EXPIRING, keys.prioritized(endpoint_name), keys.delayed(endpoint_name)]
    names += [keys.CALLBACKS, keys.weights(endpoint_name)]
    names += [keys.idempotency(scope), keys.sending(scope)] if scope else []
    if refused := script(records_client(), _FORGET)(names, [job_id]):
        _log.error("job %s was taken back, but its bookkeeping failed: %s", job_id, refused.decode(errors="replace"))


def read_one(job_id: str) -> bytes | None:
    """Return the record as it stands, None if there is none; empty, as in scripts, if its key holds something else."""
    [record] = read([job_id])
    if record is not None:
        return record
    try:
        # Asked for several records, Redis doesn't tell one of another type from none.
        return cast("bytes | None", records_client().get(keys.record(job_id)))
    except redis.ResponseError as error:
        if not is_wrong_type(error):
            raise
        return b""


def read(job_ids: Sequence[str]) -> list[bytes | None]:
    """Return the records as they stand, None for each id that has none."""
    if not job_ids:
        return []
    values = records_client().mget([keys.record(job_id) for job_id in job_ids])
    return cast("list[bytes | None]", values)


def _withdrawal_keys(job: JobFacts) -> list[str]:
    """Return the keys that `withdraw.lua` works on."""
    name = job.endpoint_name
    return [
        keys.record(job.job_id),
        keys.message(job.job_id),
        keys.unfinished(name),
        keys.EXPIRING,
        keys.counts(name),
        keys.prioritized(name),
        keys.delayed(name),
        keys.weights(name),
        keys.minute(name, figures.minute_of(time.time())),
    ]


def _withdrawal_values(job: JobFacts, record: bytes, *, force: bool) -> list[bytes | str | int]:
    """Return the arguments of `withdraw.lua`."""
    kind = counters.Kind.WITHDRAWN.value
    owner, minutes_live_s = job.owner or "", figures.MINUTES_LIVE_S
    return [job.job_id, record, load().result_ttl_s, kind, int(force), job.endpoint_name, owner, minutes_live_s]


def withdraw(job: JobFacts, record: bytes, *, force: bool) -> str | None:
    """Replace the record of a queued job, or with `force` of a running one, by the terminal `record`.

    Returns the status that stood before, None for an unknown id.
    """
    names, values = _withdrawal_keys(job), _withdrawal_values(job, record, force=force)
    status, refused = script(records_client(), _WITHDRAW)(names, values)
    if refused:
        why = refused.decode(errors="replace")
        _log.error("job %s was withdrawn, but its bookkeeping failed: %s", job.job_id, why)
    return status.decode() if status else None


def withdraw_queued(endpoint_name: str, jobs: Sequence[tuple[JobFacts, bytes]]) -> int:
    """Replace the records of a page of an endpoint's queued jobs by the terminal ones beside them, in one step.

    Returns how many were still queued.
    """
    name = endpoint_name
    names = [keys.unfinished(name), keys.EXPIRING, keys.counts(name), keys.prioritized(name), keys.delayed(name)]
    names += [keys.weights(name), keys.minute(name, figures.minute_of(time.time()))]
    names += [keys.record(job.job_id) for job, _ in jobs] + [keys.message(job.job_id) for job, _ in jobs]
    values: list[bytes | str | int] = [load().result_ttl_s, figures.MINUTES_LIVE_S]
    values += [counters.Kind.WITHDRAWN.value, name]
    for job, record in jobs:
        values += (job.job_id, record, job.owner or "")
    count, refused = script(records_client(), _WITHDRAW_QUEUED)(names, values)
    if refused:
        why = refused.decode(errors="replace")
        _log.error("jobs of %s were withdrawn, but their bookkeeping failed: %s", name, why)
    return int(count)


def withdrawn(status: str | None, *, force: bool) -> bool:
    """Tell from the answer of `withdraw` whether the record was replaced."""
    return status == records.QUEUED or (force and status == records.STARTED)


#: Called with the error of the bookkeeping beside a step, None without one.
Refused = Callable[[str | None], None]


def _ignore(_why: str | None) -> None:
    """Ignore errors of the bookkeeping."""


class Claim(msgspec.Struct, frozen=True):
    """One job before it is sent to a host, with its record in state STARTED."""

    job_id: str
    record: bytes
    submitted_at: float
    #: The tag of the lease, if it is in the Redis of the records.
    tag: str = ""


class Finish(msgspec.Struct, frozen=True):
    """The terminal record of one job, with its kind and times for the counters."""

    job_id: str
    record: bytes
    kind: counters.Kind
    latency_ms: float | None
    owner: str | None = None
    #: Its wait for its batch, and the host's time for its batch; None if unknown.
    queued_ms: float | None = None
    predict_ms: float | None = None
    #: A failed job as a dead letter, if its input is to be kept.
    letter: bytes = b""
    #: False for the jobs of evaluations, which no figure shows.
    is_counted: bool = True

    def figures(self) -> tuple[str, float, str, int | str, int | str, int | str, str]:
        """Return what `finish.lua` counts of it."""
        if not self.is_counted:
            return ("", 0.0, self.owner or "", "", "", "", "")
        total = "" if self.latency_ms is None else counters.bucket(self.latency_ms)
        queued = "" if self.queued_ms is None else figures.bucket(self.queued_ms)
        predict = "" if self.predict_ms is None else figures.bucket(self.predict_ms)
        bound = "" if self.latency_ms is None else counters.bound(self.latency_ms)
        return (self.kind.value, self.latency_ms or 0.0, self.owner or "", total, queued, predict, bound)


async def claim(client: Redis, endpoint_name: str, claims: Sequence[Claim], refused: Refused = _ignore) -> list[str]:
    """Mark jobs as started; return for each "", its terminal status, or the record of an earlier attempt.

    The result is NOT_HELD for a job whose lease this process has lost; the job stays unchanged.
    """
    settings = load()
    arguments: list[bytes | str | float] = [
        settings.unfinished_ttl_s,
        settings.recent_jobs,
        endpoint_name,
        LEASE_HOLDER,
    ]
    for each in claims:
        arguments += (each.record, each.job_id, each.submitted_at, each.tag)
    names = [keys.record(each.job_id) for each in claims]
    names += [keys.recent(endpoint_name), keys.ENDPOINTS, keys.unfinished(endpoint_name)]
    *answers, why = await script(client, _CLAIM)(names, arguments)
    refused(why.decode(errors="replace") or None)
    # An unreadable record stays as it is, so that it can be compared again.
    return [answer.decode(errors="surrogateescape") for answer in answers]


def claim_fetched_values(worker_name: str, holder: str, started_at: float) -> list[bytes | float]:
    """Return the arguments of `claim_fetched.lua`, which is a part of the script that fetches messages.

    It claims a job that comes alone for a host that waits: only if its record is as `accept` stores it, queued, due and
    not expired. Any other job is left to `claim`.
    """
    return [bytes(records.attempt_of(worker_name, holder)), started_at, load().unfinished_ttl_s]


async def unclaim_fetched(client: Redis, job_id: str, worker_name: str, holder: str) -> None:
    """Take back such a claim of a message that turned out to be unreadable, so that there is no job to give back.

    The record has lost its time of expiry; the sweeper knows it.
    """
    started: Any = await client.get(keys.record(job_id))
    queued = records.unclaimed(started or b"", bytes(records.attempt_of(worker_name, holder)))
    if queued is not None:
        await claim_again(client, job_id, started, queued)


async def claim_again(client: Redis, job_id: str, expected: bytes, record: bytes) -> bool:
    """Replace the record of a lost attempt by that of a new one; False if it has changed in the meantime."""
    values: list[bytes | int] = [expected, record, load().unfinished_ttl_s]
    return bool(await script(client, _CLAIM_AGAIN)([keys.record(job_id)], values))


async def expire(client: Redis, job: JobFacts, now: float) -> None:
    """End a job that is still queued although its time is over (`now`: s, epoch)."""
    record = records.revoked(job, records.EXPIRED, now)
    names, values = _withdrawal_keys(job), _withdrawal_values(job, record, force=False)
    _, refused = await script(client, _WITHDRAW)(names, values)
    if refused:
        why = refused.decode(errors="replace")
        _log.error("job %s has expired, but its bookkeeping failed: %s", job.job_id, why)


async def message_of_lost(client: Redis, endpoint_name: str, job_id: str, now: float) -> bytes | None:
    """Return the message of an unfinished job that stands in no queue, so that it can be sent again (`now`: s, epoch).

    Forgets a job that has ended or has no record. None if there is no message to send.
    """
    names = [keys.record(job_id), keys.message(job_id), keys.unfinished(endpoint_name), keys.CALLBACKS]
    return await script(client, _LOST)(names, [job_id, now]) or None


async def requeue(client: Redis, worker_name: str, jobs: Sequence[JobFacts]) -> None:
    """Mark running jobs that this worker gives back as queued again."""
    names = [keys.record(job.job_id) for job in jobs]
    values: list[bytes | str | int] = [worker_name, load().unfinished_ttl_s, *map(records.queued, jobs)]
    await script(client, _REQUEUE)(names, values)


async def keep_successors(client: Redis, jobs: Sequence[tuple[str, bytes]]) -> None:
    """Keep the plans of what follows jobs whose messages say so; those of jobs that have ended are not due again."""
    names = [keys.record(job_id) for job_id, _ in jobs]
    values = [value for job in jobs for value in job]
    await script(client, _KEEP_SUCCESSORS)(names, values)


def end_unborn(  # noqa: PLR0913, PLR0917 - what is known of it
    job_id: str, endpoint_name: str, owner: str | None, error: WorkerError, plan: bytes = b"", raised: Raw | None = None
) -> bool:
    """End a job as failed that was to follow another one, and was never submitted; return whether it had no record.

    What follows it by `plan` is due then. `raised` is what `AsyncResult.get()` raises, if it isn't the error.
    """
    job, now = Job(job_id, endpoint_name, None, owner=owner), time.time()
    return _end_unborn(job, records.failed(job, error, now, raised=raised), now, plan)


def expire_unborn(job_id: str, endpoint_name: str, owner: str | None, expires_at: float, plan: bytes = b"") -> bool:
    """End a job as expired that was to follow another one, and waited to be submitted; see `end_unborn`."""
    job, now = Job(job_id, endpoint_name, None, expires_at, owner=owner), time.time()
    return _end_unborn(job, records.revoked(job, records.EXPIRED, now), now, plan)


def _end_unborn(job: Job, record: bytes, now: float, plan: bytes) -> bool:
    settings, owner = load(), job.owner
    names = [keys.record(job.job_id), keys.recent(job.endpoint_name), "" if owner is None else keys.jobs_of(owner)]
    names.append(keys.ENDPOINTS)
    values: list[bytes | str | float] = [job.job_id, record, settings.result_ttl_s, now, settings.recent_jobs]
    values += [job.endpoint_name, owner or "", plan]
    ended, why = script(records_client(), _END_UNBORN)(names, values)
    if why:
        _log.error("job %s has ended, but its bookkeeping failed: %s", job.job_id, why.decode(errors="replace"))
    return bool(ended)


async def finish(  # noqa: PLR0913, PLR0917 - arguments of the script
    client: Redis,
    endpoint_name: str,
    finishes: Sequence[Finish],
    now: float,
    result_ttl_s: int | None,
    leases: Sequence[str] = (),
    refused: Refused = _ignore,
    journal: JournalPart = NOTHING_KEPT,
) -> list[bool]:
    """Write terminal records and count them; return for each whether the job had not ended before (`now`: s, epoch).

    There may be a few thousand of them. The same step keeps the inputs of failed jobs that have a letter, adds jobs to
    the journal's stream, notes the successors of the jobs, and ends the leases of the first jobs, if they are in this
    Redis. A job that another worker holds stays unchanged.
    """
    settings = load()
    letters = [(number, each.letter) for number, each in enumerate(finishes, 1) if each.letter]
    arguments: list[bytes | str | float] = [
        result_ttl_s or settings.result_ttl_s,
        counters.WINDOWS_KEPT * counters.WINDOW_S,
        figures.MINUTES_LIVE_S,
        endpoint_name,
        LEASE_HOLDER,
        settings.failed_inputs_bytes,
        len(letters),
        settings.journal_stream_bytes,
        journal.answered_by,
        len(journal.jobs),
    ]
    for each in finishes:
        arguments += (each.job_id, each.record, *each.figures())
    for number, letter in letters:
        arguments += (number, letter)
    for number, beside in journal.jobs:
        arguments += (number, beside)
    arguments += leases
    names = [keys.record(each.job_id) for each in finishes]
    names += [keys.message(each.job_id) for each in finishes]
    names += [keys.unfinished(endpoint_name), keys.EXPIRING, keys.counts(endpoint_name)]
    names += [keys.latencies(endpoint_name, counters.window(now))]
    names += [keys.prioritized(endpoint_name), keys.weights(endpoint_name)]
    names += [keys.minute(endpoint_name, figures.minute_of(now))]
    *written, why, noted = await script(client, _FINISH)(names, arguments)
    refused(why.decode(errors="replace") or None)
    if noted:
        successors.announce_due()
    return [each == 1 for each in written]
