"""The duty that advances pipelines: those whose step has ended, and those that nobody has looked at for a while."""

from __future__ import annotations

import asyncio
import logging
import threading

import redis
from redis.asyncio import Redis

from registry.database import Database
from registry.errors import RegistryError
from workers import keys
from workers.errors import QueueUnavailable
from workers.pipelines import store
from workers.pipelines.advancing import Advance

_log = logging.getLogger(__name__)

_CHECK_INTERVAL_S = 0.1
_IDLE_INTERVAL_S = 0.5


class PipelineMover:
    """Advances pipelines that are due; any number of processes may have one."""

    name = "advancing pipelines"

    def __init__(self, database: Database | None = None) -> None:
        self._advance = Advance(database)

    def run(self, stopping: threading.Event) -> None:
        """Advance pipelines until `stopping` is set. Raises redis.RedisError if Redis can't be reached."""
        while not stopping.is_set():
            stopping.wait(_CHECK_INTERVAL_S if store.are_any() else _IDLE_INTERVAL_S)
            while not stopping.is_set() and self.advance_due():
                pass

    async def run_on_loop(self, client: Redis) -> None:
        """The same on an event loop, in a thread as long as there are pipelines.

        Raises:
            redis.RedisError: Redis can't be reached.
        """
        while True:
            are_any = bool(await client.exists(keys.PIPELINES_DUE))
            if are_any:
                while await asyncio.to_thread(self.advance_due):
                    pass
            await asyncio.sleep(_CHECK_INTERVAL_S if are_any else _IDLE_INTERVAL_S)

    def advance_due(self) -> int:
        """Advance the pipelines that are due, some at a time; return how many. Raises redis.RedisError."""
        due = store.take_due()
        for pipeline_id in due:
            try:
                self._advance(pipeline_id)
            except (redis.ConnectionError, redis.TimeoutError):
                raise
            except (redis.RedisError, QueueUnavailable, RegistryError) as error:
                _log.warning("pipeline %s waits (%s); it is tried again", pipeline_id, error)
            except Exception:  # noqa: BLE001 - the others can be advanced
                _log.exception("advancing pipeline %s failed; it is tried again", pipeline_id)
        return len(due)
