"""The engine's two changes of job records, each one script for a whole batch: claim and finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from workers import keys, statistics
from workers.records import STATUS_OF
from workers.settings import load

#: KEYS: the records, then `recent`, then the set of endpoints.
#: ARGV: seconds to live, length of `recent`, endpoint; then record, id, submitted at of each job.
#: Returns for each job its terminal status, or "" where it is claimed now.
_CLAIM = (
    STATUS_OF
    + """
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
)

#: KEYS: the records, then the endpoint's counts, then its latencies of this window.
#: ARGV: seconds to live of a record, of the latencies; then record, kind, latency ms, bucket of each job.
#: Returns 1 for each record that was written, 0 where a terminal one stood already.
_FINISH = (
    STATUS_OF
    + """
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
    """Mark jobs as started; return for each "" or the terminal status that it has already."""
    settings = load()
    arguments: list[bytes | str | float] = [settings.unfinished_ttl_s, settings.recent_jobs, endpoint_name]
    for each in claims:
        arguments += (each.record, each.job_id, each.submitted_at)
    names = [*(keys.record(each.job_id) for each in claims), keys.recent(endpoint_name), keys.ENDPOINTS]
    answers = await client.register_script(_CLAIM)(names, arguments)
    return [answer.decode() for answer in answers]


async def finish(client: Redis, endpoint_name: str, finishes: Sequence[Finish], now: float) -> list[bool]:
    """Write terminal records and count them; tell for each whether it was the first (`now`: s, epoch)."""
    arguments: list[bytes | str | float] = [load().result_ttl_s, statistics.WINDOWS_KEPT * statistics.WINDOW_S]
    for each in finishes:
        bucket = "" if each.latency_ms is None else statistics.bucket(each.latency_ms)
        arguments += (each.record, each.kind.value, each.latency_ms or 0.0, bucket)
    names = [keys.record(each.job_id) for each in finishes]
    names += [keys.counts(endpoint_name), keys.latencies(endpoint_name, statistics.window(now))]
    return [written == 1 for written in await client.register_script(_FINISH)(names, arguments)]
