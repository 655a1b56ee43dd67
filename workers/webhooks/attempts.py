"""What the notifier does to deliveries, each step one script: take what is due, begin an attempt, end it.

Whatever is taken or begun is so for a limited time. If nothing more is heard of it, as its process was killed or a
message was lost on its way, it is due again: a notification may be sent twice, and none is forgotten.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workers import fast_json, keys
from workers.redis_client import EVEN_IF_FULL, records_client, script
from workers.settings import load
from workers.webhooks.deliveries import Attempt, DeliveryStatus

#: From being taken to being begun. If its message is only late, it is taken again and has another one: so that a queue
#: behind slow receivers doesn't grow, nothing begins that isn't taken right now.
TAKEN_S = 10.0
#: What an attempt may need besides its time limit.
SLACK_S = 5.0
#: One receiver, however slow, may occupy as many of a notifier's threads; one that fails a single one.
AT_A_RECEIVER = 4
TAKEN_AT_ONCE = 100
_RECEIVERS_AT_ONCE = 100
_ATTEMPTS_KEPT = 20

_NOW = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
"""

#: A Lua function: note of a receiver when there will be something to do for it.
_LOOK_AT = f"""
local function look_at(receiver, not_before)
  local first = tonumber(redis.call('ZRANGE', '{keys.webhooks_due("")}' .. receiver, 0, 0, 'WITHSCORES')[2])
  if first then
    redis.call('ZADD', '{keys.WEBHOOK_RECEIVERS}', math.max(first, not_before), receiver)
  else
    redis.call('ZREM', '{keys.WEBHOOK_RECEIVERS}', receiver)
  end
  return first
end
"""

#: KEYS: receivers, failing, pending. ARGV: seconds for which they are taken, at most so many, at most so many of a
#: receiver, receivers to look at. Returns the ids of jobs whose ends are to be told now.
#: A receiver that has its share is looked at again when one of its attempts has ended, or after a second.
#: What is not to be told there any more is dropped: another job may have had the id, and another receiver.
_TAKE = (
    EVEN_IF_FULL
    + _NOW
    + _LOOK_AT
    + f"""
local taken, most = {{}}, tonumber(ARGV[2])
for _, receiver in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[4])) do
  local due, leased = '{keys.webhooks_due("")}' .. receiver, '{keys.webhooks_leased("")}' .. receiver
  redis.call('ZREMRANGEBYSCORE', leased, '-inf', now)
  local share = redis.call('HEXISTS', KEYS[2], receiver) == 1 and 1 or tonumber(ARGV[3])
  local room = math.min(share - redis.call('ZCARD', leased), most - #taken)
  local ids = room > 0 and redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, room) or {{}}
  local before = #taken
  for _, job_id in ipairs(ids) do
    local status, its_receiver = unpack(redis.call('HMGET', '{keys.delivery("")}' .. job_id, 'status', 'receiver'))
    if status == 'pending' and its_receiver == receiver then
      redis.call('ZADD', due, now + ARGV[1], job_id)
      redis.call('ZADD', leased, now + ARGV[1], job_id)
      taken[#taken + 1] = job_id
    else
      redis.call('ZREM', due, job_id)
      if not status then redis.call('ZREM', KEYS[3], job_id) end
    end
  end
  local full = #taken - before >= room and #taken < most
  if not look_at(receiver, full and now + 1 or 0) then redis.call('HDEL', KEYS[2], receiver) end
  if #taken >= most then break end
end
return taken
"""
)

#: KEYS: the delivery. ARGV: job id, name of the attempt, seconds that it may take.
#: Returns what there is to tell, and false if there is nothing to do: it was told meanwhile, somebody is at it, or it
#: is not taken any more.
_BEGIN = (
    EVEN_IF_FULL
    + _NOW
    + _LOOK_AT
    + f"""
local said = redis.call('HMGET', KEYS[1], 'status', 'due_at', 'running_until', 'receiver', 'url', 'record', 'body',
  'attempts', 'tries')
if said[1] ~= 'pending' or tonumber(said[2]) > now or tonumber(said[3] or 0) > now then return false end
local taken_until = redis.call('ZSCORE', '{keys.webhooks_leased("")}' .. said[4], ARGV[1])
if not taken_until or tonumber(taken_until) <= now then return false end
redis.call('HSET', KEYS[1], 'running', ARGV[2], 'running_until', now + ARGV[3])
redis.call('ZADD', '{keys.webhooks_due("")}' .. said[4], now + ARGV[3], ARGV[1])
redis.call('ZADD', '{keys.webhooks_leased("")}' .. said[4], now + ARGV[3], ARGV[1])
look_at(said[4], 0)
return {{said[4], said[5], said[6], said[7], said[8], said[9], string.format('%.3f', now)}}
"""
)

#: KEYS: the delivery, pending, ended, failing, counts. ARGV: job id, name of the attempt, attempts (JSON), tries,
#: status, seconds until the next try, what is told ("" if nothing could be made of the record, which it replaces),
#: whether the receiver fails, seconds that it is kept, how many that have ended are kept.
#: Returns 1; 0 if another attempt has begun, because this one took too long.
_END = (
    EVEN_IF_FULL
    + _NOW
    + _LOOK_AT
    + f"""
local running, receiver = unpack(redis.call('HMGET', KEYS[1], 'running', 'receiver'))
if running ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], 'running', 'running_until')
redis.call('HSET', KEYS[1], 'attempts', ARGV[3], 'tries', ARGV[4], 'status', ARGV[5], 'due_at', now + ARGV[6])
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[1], 'body', ARGV[7])
  redis.call('HDEL', KEYS[1], 'record')
end
local due = '{keys.webhooks_due("")}' .. receiver
redis.call('ZREM', '{keys.webhooks_leased("")}' .. receiver, ARGV[1])
if ARGV[8] == '1' then redis.call('HINCRBY', KEYS[4], receiver, 1) else redis.call('HDEL', KEYS[4], receiver) end
if ARGV[5] ~= 'delivered' then redis.call('HINCRBY', KEYS[5], 'failed_attempts', 1) end
if ARGV[5] == 'pending' then
  redis.call('ZADD', due, now + ARGV[6], ARGV[1])
else
  redis.call('ZREM', due, ARGV[1])
  redis.call('HINCRBY', KEYS[5], ARGV[5], 1)
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZADD', KEYS[3], now, ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[9])
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[9])
  local over = redis.call('ZCARD', KEYS[3]) - ARGV[10]
  if over > 0 then
    for _, old in ipairs(redis.call('ZRANGE', KEYS[3], 0, math.min(over, 50) - 1)) do
      redis.call('DEL', '{keys.delivery("")}' .. old)
      redis.call('ZREM', KEYS[3], old)
    end
  end
end
local first = look_at(receiver, 0)
if not first then redis.call('HDEL', KEYS[4], receiver) end
if first and first <= now then redis.call('PUBLISH', '{keys.WEBHOOKS_CHANNEL}', '') end
return 1
"""
)


@dataclass(slots=True)
class Begun:
    """An attempt that nobody else makes."""

    job_id: str
    name: str
    receiver: str
    url: str
    #: The job's terminal record, until there is a body.
    record: bytes | None
    #: What is told; it is made of the record at the first attempt.
    body: bytes | None
    before: Sequence[Attempt]
    #: How often it was tried, since the end of the job or since it is sent again.
    tries: int
    #: Seconds since the epoch.
    at: float


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an attempt, and what is to become of the delivery."""

    attempt: Attempt
    status: DeliveryStatus
    next_in_s: float
    #: Whether the receiver itself is in trouble, so that it had better be spared.
    receiver_fails: bool


def take() -> list[str]:
    """Take what is due, of each receiver as many as it may have; return ids of jobs. Raises redis.RedisError."""
    names = [keys.WEBHOOK_RECEIVERS, keys.WEBHOOKS_FAILING, keys.WEBHOOKS_PENDING]
    found = script(records_client(), _TAKE)(names, [TAKEN_S, TAKEN_AT_ONCE, AT_A_RECEIVER, _RECEIVERS_AT_ONCE])
    return [job_id.decode() for job_id in found]


def begin(job_id: str) -> Begun | None:
    """Begin an attempt at what is taken; None if none is to be made, or somebody makes it. Raises redis.RedisError."""
    name, may_take_s = uuid.uuid4().hex, load().webhook_timeout_s + SLACK_S
    found: list[Any] | None = script(records_client(), _BEGIN)([keys.delivery(job_id)], [job_id, name, may_take_s])
    if not found:
        return None
    receiver, url, record, body, before, tries, now = found
    attempts = fast_json.loads(before) if before else []
    return Begun(job_id, name, receiver.decode(), url.decode(), record, body, attempts, int(tries or 0), float(now))


def end(begun: Begun, result: Result) -> bool:
    """End an attempt; False if it took so long that another one has begun. Raises redis.RedisError."""
    settings = load()
    attempts = [*begun.before, result.attempt][-_ATTEMPTS_KEPT:]
    names = [keys.delivery(begun.job_id), keys.WEBHOOKS_PENDING, keys.WEBHOOKS_ENDED]
    names += [keys.WEBHOOKS_FAILING, keys.WEBHOOK_COUNTS]
    values: list[bytes | str | float] = [begun.job_id, begun.name, fast_json.strict(attempts), begun.tries + 1]
    values += [result.status.value, result.next_in_s, begun.body or b"", int(result.receiver_fails)]
    values += [settings.webhook_log_ttl_s, settings.webhook_log_length]
    return bool(script(records_client(), _END)(names, values))
