"""Records deliveries for jobs that a process of an earlier release, without webhooks, has ended.

Their callbacks are still in Redis, so the background process scans all callbacks, a few at a time.
"""

from __future__ import annotations

from workers import keys
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client

#: The scan of so many callbacks blocks Redis for half a millisecond.
_SCANNED_AT_ONCE = 200

_NOTE = Lua("workers.webhooks", "backfill")


def backfill_some(cursor: int) -> int:
    """Record the deliveries of ended jobs among some callbacks, from `cursor` on (0 at first); return the next cursor.

    Drops the callbacks of jobs that are gone.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    names = [keys.CALLBACKS, keys.ENDPOINTS]
    return int(script(records_client(), _NOTE)(names, [cursor, _SCANNED_AT_ONCE]))
