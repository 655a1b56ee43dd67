"""Job records in Redis: every change of state is one conditional step, and a terminal state is final.

The records are those of Celery's result backend, so that `AsyncResult`, the HTTP API and Flower
read the same thing. The scripts look at the status alone: `documents` puts it first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from workers import documents, keys
from workers.redis_client import records_client
from workers.settings import load

#: Lua functions for the scripts that look at a record.
STATUS_OF = """
local function status_of(record)
  return record and (string.match(record, '^{"status": ?"(%u+)"') or 'UNREADABLE')
end
local function terminal(status)
  return status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED'
end
"""

#: KEYS: the record. ARGV: the terminal record, seconds to live.
#: Returns the status that stood; the record is replaced only if that was QUEUED.
_CANCEL = (
    STATUS_OF
    + """
local status = status_of(redis.call('GET', KEYS[1]))
if status == 'QUEUED' then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  redis.call('PUBLISH', KEYS[1], ARGV[1])
end
return status
"""
)

#: KEYS: the record. Deletes it if the job is still queued: its message could not be sent.
_FORGET = (
    STATUS_OF
    + """
if status_of(redis.call('GET', KEYS[1])) == 'QUEUED' then redis.call('DEL', KEYS[1]) end
"""
)


def write_queued(job_id: str, endpoint_name: str, submitted_at: float) -> None:
    """Write the record of a job whose message is about to be sent (`submitted_at`: s since the epoch)."""
    settings = load()
    recent = keys.recent(endpoint_name)
    with records_client().pipeline(transaction=False) as pipeline:
        record = documents.queued(job_id, endpoint_name, submitted_at)
        pipeline.set(keys.record(job_id), record, ex=settings.unfinished_ttl_s, nx=True)
        pipeline.zadd(recent, {job_id: submitted_at})
        pipeline.zremrangebyrank(recent, 0, -1 - settings.recent_jobs)
        pipeline.expire(recent, settings.unfinished_ttl_s)
        pipeline.sadd(keys.ENDPOINTS, endpoint_name)
        pipeline.execute()


def forget_queued(job_id: str, endpoint_name: str) -> None:
    """Take back `write_queued`: the message could not be sent."""
    client = records_client()
    client.eval(_FORGET, 1, keys.record(job_id))
    client.zrem(keys.recent(endpoint_name), job_id)


def read(job_ids: Sequence[str]) -> list[bytes | None]:
    """Return the records as they stand, None for each id that has none."""
    if not job_ids:
        return []
    values = records_client().mget([keys.record(job_id) for job_id in job_ids])
    return cast("list[bytes | None]", values)


def cancel(job_id: str, record: bytes) -> str | None:
    """Replace a queued job's record by `record`; return the status that stood, None for an unknown id."""
    script = records_client().register_script(_CANCEL)
    status: bytes | None = script([keys.record(job_id)], [record, load().result_ttl_s])
    return status.decode() if status else None
