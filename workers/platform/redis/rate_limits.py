"""Limits on how often something may be done a second, shared by all processes that use the same Redis."""

from __future__ import annotations

from workers import keys
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client, translated_errors

_TAKE = Lua("workers.platform", "take_rate")


def take(name: str, per_s: float) -> float:
    """Use one of `per_s` a second, or of a second's worth that was saved up; return the seconds to wait, 0 if none.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    each_s = 1 / per_s
    ahead_s = max(each_s, 1.0)
    with translated_errors():
        return float(script(records_client(), _TAKE)([keys.rate(name)], [repr(each_s), repr(ahead_s)]))
