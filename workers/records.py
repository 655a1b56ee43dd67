"""Job records in Redis: every change of state is one conditional step, and a terminal state is final.

The records are those of Celery's result backend, so that `AsyncResult`, the HTTP API and Flower
read the same thing. The scripts look at the status alone: `documents` puts it first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import redis

from workers import documents, keys, statistics
from workers.redis_client import records_client
from workers.settings import load

_STATUS_OF = """
local function status_of(record)
  return record and (string.match(record, '^{"status": ?"(%u+)"') or 'UNREADABLE')
end
local function terminal(status)
  return status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED'
end
"""

#: KEYS: the records, then `recent`, then the set of endpoints.
#: ARGV: seconds to live, length of `recent`, endpoint; then record, id, submitted at of each job.
#: Returns for each job its terminal status, or "" where it is claimed now.
_CLAIM = _STATUS_OF + """
local answers, n = {}, #KEYS - 2
for i = 1, n do
  local status = status_of(redis.call('GET', KEYS[i]))
  if terminal(status) then
    answers[i] = status
  else
    redis.call('SET', KEYS[i], ARGV[3 * i + 1], 'EX', ARGV[1])
    redis.call('ZADD', KEYS[n + 1], 'NX', ARGV[3 * i + 3], ARGV[3 * i + 2])
    answers[i] = ''
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[n + 1], 0, -1 - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[n + 1], ARGV[1])
redis.call('SADD', KEYS[n + 2], ARGV[3])
return answers
"""

#: KEYS: the records, then the endpoint's counts, then its latencies of this window.
#: ARGV: seconds to live of a record, of the latencies; then record, kind, latency ms, bucket of each job.
#: Returns 1 for each record that was written, 0 where a terminal one stood already.
_FINISH = _STATUS_OF + """
local written, n = {}, #KEYS - 2
for i = 1, n do
  local status = status_of(redis.call('GET', KEYS[i]))
  if terminal(status) then
    written[i] = 0
  else
    local at = 4 * i - 1
    redis.call('SET', KEYS[i], ARGV[at], 'EX', ARGV[1])
    redis.call('PUBLISH', KEYS[i], ARGV[at])
    redis.call('HINCRBY', KEYS[n + 1], ARGV[at + 1], 1)
    if ARGV[at + 3] ~= '' then
      redis.call('HINCRBYFLOAT', KEYS[n + 1], 'latency_ms', ARGV[at + 2])
      redis.call('HINCRBY', KEYS[n + 2], ARGV[at + 3], 1)
    end
    written[i] = 1
  end
end
redis.call('EXPIRE', KEYS[n + 2], ARGV[2])
return written
"""

#: KEYS: the record. ARGV: the terminal record, seconds to live.
#: Returns the status that stood; the record is replaced only if that was QUEUED.
_CANCEL = _STATUS_OF + """
local status = status_of(redis.call('GET', KEYS[1]))
if status == 'QUEUED' then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  redis.call('PUBLISH', KEYS[1], ARGV[1])
end
return status
"""

#: KEYS: the record. Deletes it if the job is still queued: its message could not be sent.
_FORGET = _STATUS_OF + """
if status_of(redis.call('GET', KEYS[1])) == 'QUEUED' then redis.call('DEL', KEYS[1]) end
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """One job about to be given to a host, with its record in state STARTED."""

    job_id: str
    record: bytes
    submitted_at: float


@dataclass(frozen=True, slots=True)
class Finish:
    """One job's terminal record, and what of it is counted."""

    job_id: str
    record: bytes
    kind: statistics.Kind
    latency_ms: float | None


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
    values: list[bytes | None] = records_client().mget([keys.record(job_id) for job_id in job_ids])
    return values


def claim(client: redis.Redis, endpoint_name: str, claims: Sequence[Claim]) -> list[str]:
    """Mark jobs as started; return for each "" or the terminal status that it has already."""
    settings = load()
    arguments: list[bytes | str | float] = [settings.unfinished_ttl_s, settings.recent_jobs, endpoint_name]
    for each in claims:
        arguments += (each.record, each.job_id, each.submitted_at)
    names = [*(keys.record(each.job_id) for each in claims), keys.recent(endpoint_name), keys.ENDPOINTS]
    answers = client.register_script(_CLAIM)(names, arguments)
    return [answer.decode() for answer in answers]


def finish(client: redis.Redis, endpoint_name: str, finishes: Sequence[Finish], now: float) -> list[bool]:
    """Write terminal records and count them; tell for each whether it was the first (`now`: s, epoch)."""
    arguments: list[bytes | str | float] = [load().result_ttl_s, statistics.WINDOWS_KEPT * statistics.WINDOW_S]
    for each in finishes:
        bucket = "" if each.latency_ms is None else statistics.bucket(each.latency_ms)
        arguments += (each.record, each.kind, each.latency_ms or 0.0, bucket)
    names = [keys.record(each.job_id) for each in finishes]
    names += [keys.counts(endpoint_name), keys.latencies(endpoint_name, statistics.window(now))]
    return [written == 1 for written in client.register_script(_FINISH)(names, arguments)]


def cancel(job_id: str, record: bytes) -> str | None:
    """Replace a queued job's record by `record`; return the status that stood, None for an unknown id."""
    script = records_client().register_script(_CANCEL)
    status: bytes | None = script([keys.record(job_id)], [record, load().result_ttl_s])
    return status.decode() if status else None
