"""Ends that were noted nowhere, as whoever ended the job knew of no webhooks: a process of an earlier release.

The job's callback stands in Redis still. So all callbacks are looked through, a few at a time.
"""

from __future__ import annotations

from workers import keys
from workers.records import STATUS_OF
from workers.redis_client import records_client, script
from workers.webhooks.outbox import NOTIFY

#: Redis does nothing else meanwhile: for half a millisecond.
_LOOKED_AT_ONCE = 200

#: KEYS: callbacks, endpoints. ARGV: where to go on, about how many to look at. Returns where to go on next time.
#: Of a job that waits for longer than records live nothing is left but its message: its callback stays.
_NOTE = (
    STATUS_OF
    + NOTIFY
    + f"""
local function is_unfinished(job_id)
  for _, endpoint in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    if redis.call('ZSCORE', '{keys.unfinished("")}' .. endpoint, job_id) then return true end
  end
  return false
end
local next_cursor, found = unpack(redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]))
for i = 1, #found, 2 do
  local job_id = found[i]
  local record = redis.call('GET', '{keys.record("")}' .. job_id)
  if terminal(status_of(record)) then
    notify(string.match(record, '.*"endpoint_name": ?"([^"]*)"') or '', {{job_id}}, {{record}})
  elseif not record and not is_unfinished(job_id) then
    redis.call('HDEL', KEYS[1], job_id)
  end
end
return next_cursor
"""
)


def note_some(cursor: int) -> int:
    """Note the ends among some of the callbacks, from `cursor` on (0 at first); return the next cursor.

    Drops the callbacks of jobs that are gone.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    names = [keys.CALLBACKS, keys.ENDPOINTS]
    return int(script(records_client(), _NOTE)(names, [cursor, _LOOKED_AT_ONCE]))
