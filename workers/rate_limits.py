"""Limits on how often something may be done a second, shared by all processes that use the same Redis."""

from __future__ import annotations

from workers import keys
from workers.redis_client import records_client, script, translated_errors

#: KEYS: when what was taken so far is used up (s). ARGV: seconds for each, seconds that may be taken ahead.
#: Returns how long to wait (s) as text; "0" if it was taken. One number for each name: a generic cell rate limit.
_TAKE = """
local time = redis.call('TIME')
local now, each, ahead = time[1] + time[2] / 1e6, tonumber(ARGV[1]), tonumber(ARGV[2])
local used_until = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0') or 0) + each
local wait = used_until - ahead - now
if wait > 1e-6 then return string.format('%.6f', wait) end
redis.call('SET', KEYS[1], string.format('%.6f', used_until), 'PX', math.ceil((used_until - now) * 1000) + 1)
return '0'
"""


def take(name: str, per_s: float) -> float:
    """Use one of `per_s` a second, or of a second's worth that was saved up; return the seconds to wait, 0 if none.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    each_s = 1 / per_s
    ahead_s = max(each_s, 1.0)
    with translated_errors():
        return float(script(records_client(), _TAKE)([keys.rate(name)], [repr(each_s), repr(ahead_s)]))
