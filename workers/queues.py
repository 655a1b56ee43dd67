"""The name of a deployment's queue and of the task: computed here and stored nowhere."""

from __future__ import annotations

#: The one task of this service; part of the contract with other Celery programs.
TASK_NAME = "predict"
#: Celery's own default queue; nothing of ours is sent there.
CONTROL_QUEUE = "queuecast"
_PREFIX = "predict."
#: In Redis, kombu makes several lists of a queue, for as many ranges of priority; other Celery programs may
#: send to each. The first one, of the highest priority, has the queue's own name.
PRIORITY_LISTS = ("", "\x06\x163", "\x06\x166", "\x06\x169")
#: The same as a table in a Lua script.
LUA_PRIORITY_LISTS = "{'', '\\006\\0223', '\\006\\0226', '\\006\\0229'}"


def queue_name(endpoint_name: str) -> str:
    """Return the queue on which jobs of this endpoint wait."""
    return _PREFIX + endpoint_name
