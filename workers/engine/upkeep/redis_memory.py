"""Reads the memory limit of Redis, and derives the default of `max_queue_bytes` from it."""

from __future__ import annotations

import logging
import time

from redis import ResponseError
from redis.asyncio import Redis

_log = logging.getLogger(__name__)

#: Redis holds a message twice, in its queue or lease and as a copy, so a full queue takes a quarter of the memory.
_QUEUE_SHARE = 1 / 8
_READ_INTERVAL_S = 60.0


class RedisMemory:
    """The memory of one Redis, read once a minute."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._queue_bytes: int | None = None
        #: When to read it again (s, monotonic).
        self._read_at = 0.0

    async def queue_bytes(self) -> int | None:
        """Return how many bytes one queue may have by default; None if the memory is unknown.

        Raises:
            RedisError, OSError: Redis can't be reached.
        """
        if time.monotonic() >= self._read_at:
            self._queue_bytes = await self._read()
            self._read_at = time.monotonic() + _READ_INTERVAL_S
        return self._queue_bytes

    async def _read(self) -> int | None:
        try:
            found = await self._client.info("memory")
        except ResponseError as error:  # not every user may run INFO
            _log.warning("reading the memory limit of Redis failed (%s): max_queue_bytes has no default", error)
            return None
        # Redis's own limit, or the machine's memory if it has none.
        memory_bytes = int(found.get("maxmemory") or found.get("total_system_memory") or 0)
        return int(memory_bytes * _QUEUE_SHARE) or None
