"""Job records in Redis: every change of state is one conditional step, and a terminal state is final.

The records are those of Celery's result backend, so that `AsyncResult`, the HTTP API and Flower
read the same thing. The scripts look at the status alone: `documents` puts it first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from workers import documents, keys, statistics
from workers.redis_client import EVEN_IF_FULL, records_client, script
from workers.settings import load
from workers.webhooks.outbox import NOTIFY

#: Lua functions for the scripts that look at a record.
STATUS_OF = """
local function status_of(record)
  return record and (string.match(record, '^{"status": ?"(%u+)"') or 'UNREADABLE')
end
local function terminal(status)
  return status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED'
end
"""

#: Tells whoever waits that jobs have ended; a Lua function of a list of ids.
TELL_ENDED = f"""
local function tell_ended(ids)
  if #ids > 0 then redis.call('PUBLISH', '{keys.ENDED_CHANNEL}', table.concat(ids, {keys.ENDED_SEPARATOR!r})) end
end
"""

#: KEYS: the record, the copy of its message, unfinished, expiring, counts, levels.
#: ARGV: job id, the terminal record, seconds to live, kind, whether a running job may be taken back too, endpoint.
#: Returns the status that stood; the record is replaced only if that allows it.
WITHDRAW = (
    EVEN_IF_FULL
    + STATUS_OF
    + TELL_ENDED
    + NOTIFY
    + """
local status = status_of(redis.call('GET', KEYS[1]))
if status == 'QUEUED' or (status == 'STARTED' and ARGV[5] == '1') then
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
  redis.call('PUBLISH', KEYS[1], ARGV[2])
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('ZREM', KEYS[4], ARGV[1])
  redis.call('ZREM', KEYS[6], ARGV[1])
  redis.call('HINCRBY', KEYS[5], ARGV[4], 1)
  notify(ARGV[6], {ARGV[1]}, {ARGV[2]})
  tell_ended({ARGV[1]})
end
return status
"""
)

#: KEYS: the record, the copy of its message, unfinished, recent, expiring, levels, callbacks, then perhaps the keys of
#: its idempotency key. ARGV: job id.
#: Deletes a job that is still queued: its message could not be sent.
_FORGET = (
    STATUS_OF
    + """
if status_of(redis.call('GET', KEYS[1])) == 'QUEUED' then
  redis.call('DEL', KEYS[1], KEYS[2])
  for i = 3, 6 do redis.call('ZREM', KEYS[i], ARGV[1]) end
  redis.call('HDEL', KEYS[7], ARGV[1])
  for i = 8, #KEYS do redis.call('DEL', KEYS[i]) end
end
"""
)


def forget_queued(job_id: str, endpoint_name: str, scope: str | None = None) -> None:
    """Take back a job that was recorded but whose message could not be sent (`scope`: of its idempotency key)."""
    names = [keys.record(job_id), keys.message(job_id), keys.unfinished(endpoint_name)]
    names += [keys.recent(endpoint_name), keys.EXPIRING, keys.levels(endpoint_name), keys.CALLBACKS]
    names += [keys.idempotency(scope), keys.sending(scope)] if scope else []
    script(records_client(), _FORGET)(names, [job_id])


def read(job_ids: Sequence[str]) -> list[bytes | None]:
    """Return the records as they stand, None for each id that has none."""
    if not job_ids:
        return []
    values = records_client().mget([keys.record(job_id) for job_id in job_ids])
    return cast("list[bytes | None]", values)


def withdrawal_keys(job_id: str, endpoint_name: str) -> list[str]:
    """Return the keys that `WITHDRAW` works on."""
    return [
        keys.record(job_id),
        keys.message(job_id),
        keys.unfinished(endpoint_name),
        keys.EXPIRING,
        keys.counts(endpoint_name),
        keys.levels(endpoint_name),
    ]


def withdrawal_values(job_id: str, endpoint_name: str, record: bytes, *, force: bool) -> list[bytes | str | int]:
    """Return what `WITHDRAW` is told."""
    kind = statistics.Kind.WITHDRAWN.value
    return [job_id, record, load().result_ttl_s, kind, int(force), endpoint_name]


def withdraw(job_id: str, endpoint_name: str, record: bytes, *, force: bool) -> str | None:
    """Replace the record of a queued job, or with `force` of a running one, by the terminal `record`.

    Returns the status that stood before, None for an unknown id.
    """
    values = withdrawal_values(job_id, endpoint_name, record, force=force)
    status: bytes | None = script(records_client(), WITHDRAW)(withdrawal_keys(job_id, endpoint_name), values)
    return status.decode() if status else None


def withdrawn(status: str | None, *, force: bool) -> bool:
    """Tell from the answer of `withdraw` whether the record was replaced."""
    return status == documents.QUEUED or (force and status == documents.STARTED)
