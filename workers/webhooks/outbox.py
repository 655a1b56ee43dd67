"""What is to be told of a job's end is noted in the script that writes its terminal record, so that none is lost.

Knows nothing of HTTP, and of Redis as much as a script needs.
"""

from __future__ import annotations

from workers import keys
from workers.webhooks.targets import read_url

#: A Lua function of an endpoint, ids of jobs that have ended, and their records: notes for each that has a callback,
#: or whose endpoint has one, that its end is to be told. For all others it is one look whether there is any callback.
NOTIFY = f"""
local function owner_of(record)
  return string.match(record, '"owner": ?"([^"]*)"}}$')
    or string.match(record, '"owner": ?"([^"]*)", ?"priority": ?"%a+"}}$') or ''
end
local function notify(endpoint, ids, records)
  if #ids == 0 or redis.call('EXISTS', '{keys.CALLBACKS}', '{keys.ENDPOINT_CALLBACKS}') == 0 then return end
  local of_endpoint = redis.call('HGET', '{keys.ENDPOINT_CALLBACKS}', endpoint)
  local own = redis.call('HMGET', '{keys.CALLBACKS}', unpack(ids))
  redis.call('HDEL', '{keys.CALLBACKS}', unpack(ids))
  local time, noted = redis.call('TIME'), false
  local now = time[1] + time[2] / 1e6
  for i, job_id in ipairs(ids) do
    local receiver, url = string.match(own[i] or of_endpoint or '', '^(%S+) (.+)$')
    if receiver then
      noted = true
      local name = '{keys.delivery("")}' .. job_id
      redis.call('DEL', name)
      redis.call('HSET', name, 'endpoint_name', endpoint, 'owner', owner_of(records[i]), 'receiver', receiver,
        'url', url, 'record', records[i], 'status', 'pending', 'created_at', now, 'due_at', now)
      redis.call('ZADD', '{keys.webhooks_due("")}' .. receiver, now, job_id)
      redis.call('ZADD', '{keys.WEBHOOK_RECEIVERS}', 'LT', now, receiver)
      redis.call('ZADD', '{keys.WEBHOOKS_PENDING}', now, job_id)
      redis.call('ZREM', '{keys.WEBHOOKS_ENDED}', job_id)
    end
  end
  if noted then redis.call('PUBLISH', '{keys.WEBHOOKS_CHANNEL}', '') end
end
"""


def callback(url: str) -> str:
    """Return what the scripts need to know of a callback: the receiver that shares its fate with others, and the URL.

    Whether something may be sent there is not looked at.

    Raises:
        TargetRefused: it is no URL that anything could be sent to.
    """
    target = read_url(url)
    return f"{target.authority} {url}"


def without_secrets(url: str) -> str:
    """Return a callback's URL as it may be shown: without its query, in which tokens are."""
    before, mark, _query = url.partition("?")
    return before + ("?…" if mark else "")
