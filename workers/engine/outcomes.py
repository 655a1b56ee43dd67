"""The engine's changes of job records, each one script for a whole batch: claim, claim again, finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from workers import documents, keys, statistics
from workers.engine.messages import QueuedJob
from workers.records import STATUS_OF, TELL_ENDED
from workers.redis_client import script
from workers.settings import load

#: KEYS: the records, then `recent`, the set of endpoints, unfinished.
#: ARGV: seconds to live, length of `recent`, endpoint; then record, id, submitted at of each job.
#: Returns for each job "" where it is claimed now; otherwise the terminal status that it has already,
#: or the whole record of an attempt that was begun before.
_CLAIM = (
    STATUS_OF
    + """
local answers, n = {}, #KEYS - 3
for i = 1, n do
  local record = redis.call('GET', KEYS[i])
  local status = status_of(record)
  if terminal(status) then
    answers[i] = status
  elseif status == 'STARTED' then
    answers[i] = record
  else
    redis.call('SET', KEYS[i], ARGV[3 * i + 1], 'EX', ARGV[1])
    if not record then
      redis.call('ZADD', KEYS[n + 1], 'NX', ARGV[3 * i + 3], ARGV[3 * i + 2])
      redis.call('ZADD', KEYS[n + 3], 'NX', ARGV[3 * i + 3], ARGV[3 * i + 2])
      redis.call('SADD', KEYS[n + 2], ARGV[3])
    end
    answers[i] = ''
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[n + 1], 0, -1 - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[n + 1], ARGV[1])
return answers
"""
)

#: KEYS: the record. ARGV: what it is expected to be, the new record, seconds to live.
_CLAIM_AGAIN = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""

#: KEYS: the records. ARGV: the worker, seconds to live, then the record of each job as it is when queued.
#: A job that this worker has begun and could not end is queued again, as if it had not begun.
_UNCLAIM = (
    STATUS_OF
    + """
for i = 1, #KEYS do
  local record = redis.call('GET', KEYS[i])
  local mine = record and string.match(record, '"hostname": ?"([^"]*)"') == ARGV[1]
  if mine and status_of(record) == 'STARTED' then
    redis.call('SET', KEYS[i], ARGV[i + 2], 'EX', ARGV[2])
  end
end
"""
)

#: KEYS: the records, then the copies of the messages, then unfinished, expiring, the endpoint's counts,
#: its latencies of this window.
#: ARGV: seconds to live of a record, of the latencies; then id, record, kind, latency ms, bucket of each job.
#: Returns 1 for each record that was written, 0 where a terminal one stood already.
_FINISH = (
    STATUS_OF
    + TELL_ENDED
    + """
local written, ended, n = {}, {}, (#KEYS - 4) / 2
local unfinished, expiring, counts, latencies = KEYS[2 * n + 1], KEYS[2 * n + 2], KEYS[2 * n + 3], KEYS[2 * n + 4]
for i = 1, n do
  local at = 5 * i - 2
  redis.call('DEL', KEYS[n + i])
  redis.call('ZREM', unfinished, ARGV[at])
  redis.call('ZREM', expiring, ARGV[at])
  if terminal(status_of(redis.call('GET', KEYS[i]))) then
    written[i] = 0
  else
    redis.call('SET', KEYS[i], ARGV[at + 1], 'EX', ARGV[1])
    redis.call('PUBLISH', KEYS[i], ARGV[at + 1])
    redis.call('HINCRBY', counts, ARGV[at + 2], 1)
    if ARGV[at + 4] ~= '' then
      redis.call('HINCRBYFLOAT', counts, 'latency_ms', ARGV[at + 3])
      redis.call('HINCRBY', latencies, ARGV[at + 4], 1)
    end
    written[i] = 1
    ended[#ended + 1] = ARGV[at]
  end
end
redis.call('EXPIRE', latencies, ARGV[2])
tell_ended(ended)
return written
"""
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One job that is about to be given to a host, with its record in state STARTED."""

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


async def claim(client: Redis, endpoint_name: str, claims: Sequence[Claim]) -> list[str]:
    """Mark jobs as started; return for each "", the terminal status that it has, or the record of an attempt."""
    settings = load()
    arguments: list[bytes | str | float] = [settings.unfinished_ttl_s, settings.recent_jobs, endpoint_name]
    for each in claims:
        arguments += (each.record, each.job_id, each.submitted_at)
    names = [keys.record(each.job_id) for each in claims]
    names += [keys.recent(endpoint_name), keys.ENDPOINTS, keys.unfinished(endpoint_name)]
    answers = await script(client, _CLAIM)(names, arguments)
    return [answer.decode() for answer in answers]


async def claim_again(client: Redis, job_id: str, expected: bytes, record: bytes) -> bool:
    """Replace the record of an attempt that was lost by that of a new one; False if it is another by now."""
    values: list[bytes | int] = [expected, record, load().unfinished_ttl_s]
    return bool(await script(client, _CLAIM_AGAIN)([keys.record(job_id)], values))


async def unclaim(client: Redis, worker_name: str, jobs: Sequence[QueuedJob]) -> None:
    """Mark jobs as queued again that this worker gives back while they run."""
    queued = [documents.queued(job.job_id, job.endpoint_name, job.submitted_at, job.expires_at) for job in jobs]
    names = [keys.record(job.job_id) for job in jobs]
    values: list[bytes | str | int] = [worker_name, load().unfinished_ttl_s, *queued]
    await script(client, _UNCLAIM)(names, values)


async def finish(
    client: Redis, endpoint_name: str, finishes: Sequence[Finish], now: float, result_ttl_s: int | None
) -> list[bool]:
    """Write terminal records and count them; tell for each whether it was the first (`now`: s, epoch)."""
    arguments: list[bytes | str | float] = [
        result_ttl_s or load().result_ttl_s,
        statistics.WINDOWS_KEPT * statistics.WINDOW_S,
    ]
    for each in finishes:
        bucket = "" if each.latency_ms is None else statistics.bucket(each.latency_ms)
        arguments += (each.job_id, each.record, each.kind.value, each.latency_ms or 0.0, bucket)
    names = [keys.record(each.job_id) for each in finishes]
    names += [keys.message(each.job_id) for each in finishes]
    names += [keys.unfinished(endpoint_name), keys.EXPIRING, keys.counts(endpoint_name)]
    names.append(keys.latencies(endpoint_name, statistics.window(now)))
    return [written == 1 for written in await script(client, _FINISH)(names, arguments)]
