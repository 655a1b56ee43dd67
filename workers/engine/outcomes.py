"""The engine's changes of job records, each one script for a whole batch: claim, claim again, finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from workers import documents, keys, statistics
from workers.engine.messages import QueuedJob
from workers.records import STATUS_OF, TELL_ENDED
from workers.redis_client import EVEN_IF_FULL, script
from workers.settings import load
from workers.webhooks.outbox import NOTIFY

#: KEYS: the records, then `recent`, the set of endpoints, unfinished.
#: ARGV: seconds to live, length of `recent`, endpoint; then record, id, submitted at of each job.
#: Returns for each job "" where it is claimed now; otherwise the terminal status that it has already,
#: or the whole record of an attempt that was begun before.
_CLAIM = (
    EVEN_IF_FULL
    + STATUS_OF
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
_CLAIM_AGAIN = (
    EVEN_IF_FULL
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""
)

#: KEYS: the records. ARGV: the worker, seconds to live, then the record of each job as it is when queued.
#: A job that this worker has begun and could not end is queued again, as if it had not begun.
_UNCLAIM = (
    EVEN_IF_FULL
    + STATUS_OF
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
#: its latencies of this window, leases, leased, levels.
#: ARGV: seconds to live of a record, of the latencies, endpoint; then id, record, kind, latency ms, bucket of each job;
#: then the tags whose leases end with this.
#: Returns 1 for each record that was written, 0 where a terminal one stood already.
#: What is the same for all jobs is done once for all of them; `unpack` takes no more than 7,990 of them.
_FINISH = (
    EVEN_IF_FULL
    + STATUS_OF
    + TELL_ENDED
    + NOTIFY
    + """
local n = (#KEYS - 7) / 2
local unfinished, expiring, counts, latencies = KEYS[2 * n + 1], KEYS[2 * n + 2], KEYS[2 * n + 3], KEYS[2 * n + 4]
local written, ids, ended, records, seen, total_ms, of_kind, of_bucket = {}, {}, {}, {}, {}, 0, {}, {}
local function count(table, field) table[field] = (table[field] or 0) + 1 end
local stood = redis.call('MGET', unpack(KEYS, 1, n))
for i = 1, n do
  local at = 5 * i - 1
  ids[i] = ARGV[at]
  if seen[ARGV[at]] or terminal(status_of(stood[i])) then
    written[i] = 0
  else
    seen[ARGV[at]] = true
    redis.call('SET', KEYS[i], ARGV[at + 1], 'EX', ARGV[1])
    redis.call('PUBLISH', KEYS[i], ARGV[at + 1])
    count(of_kind, ARGV[at + 2])
    if ARGV[at + 4] ~= '' then
      total_ms = total_ms + ARGV[at + 3]
      count(of_bucket, ARGV[at + 4])
    end
    written[i] = 1
    ended[#ended + 1] = ARGV[at]
    records[#ended] = ARGV[at + 1]
  end
end
redis.call('DEL', unpack(KEYS, n + 1, 2 * n))
redis.call('ZREM', unfinished, unpack(ids))
redis.call('ZREM', expiring, unpack(ids))
if redis.call('EXISTS', KEYS[2 * n + 7]) == 1 then redis.call('ZREM', KEYS[2 * n + 7], unpack(ids)) end
for kind, jobs in pairs(of_kind) do redis.call('HINCRBY', counts, kind, jobs) end
for bucket, jobs in pairs(of_bucket) do redis.call('HINCRBY', latencies, bucket, jobs) end
if total_ms > 0 then redis.call('HINCRBYFLOAT', counts, 'latency_ms', string.format('%.3f', total_ms)) end
redis.call('EXPIRE', latencies, ARGV[2])
if #ARGV > 5 * n + 3 then
  redis.call('ZREM', KEYS[2 * n + 5], unpack(ARGV, 5 * n + 4))
  redis.call('HDEL', KEYS[2 * n + 6], unpack(ARGV, 5 * n + 4))
end
notify(ARGV[3], ended, records)
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
    queued = [
        documents.queued(job.job_id, job.endpoint_name, job.submitted_at, job.expires_at, job.owner, job.priority)
        for job in jobs
    ]
    names = [keys.record(job.job_id) for job in jobs]
    values: list[bytes | str | int] = [worker_name, load().unfinished_ttl_s, *queued]
    await script(client, _UNCLAIM)(names, values)


async def finish(  # noqa: PLR0913, PLR0917 - what the script needs
    client: Redis,
    endpoint_name: str,
    finishes: Sequence[Finish],
    now: float,
    result_ttl_s: int | None,
    leases: Sequence[str] = (),
) -> list[bool]:
    """Write terminal records and count them; tell for each whether it was the first (`now`: s, epoch).

    There may be a few thousand of them. In the same step, end leases of this Redis.
    """
    arguments: list[bytes | str | float] = [
        result_ttl_s or load().result_ttl_s,
        statistics.WINDOWS_KEPT * statistics.WINDOW_S,
        endpoint_name,
    ]
    for each in finishes:
        bucket = "" if each.latency_ms is None else statistics.bucket(each.latency_ms)
        arguments += (each.job_id, each.record, each.kind.value, each.latency_ms or 0.0, bucket)
    arguments += leases
    names = [keys.record(each.job_id) for each in finishes]
    names += [keys.message(each.job_id) for each in finishes]
    names += [keys.unfinished(endpoint_name), keys.EXPIRING, keys.counts(endpoint_name)]
    names += [keys.latencies(endpoint_name, statistics.window(now)), keys.LEASES, keys.LEASED]
    names.append(keys.levels(endpoint_name))
    return [written == 1 for written in await script(client, _FINISH)(names, arguments)]
