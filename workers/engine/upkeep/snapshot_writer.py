"""Keeps the snapshots of deployments in Redis up to date, for the API; workers do not read them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable

from redis import RedisError
from redis.asyncio import Redis

from registry.deployments import DesiredDeployment, Intent
from workers import keys
from workers.deployments import snapshots
from workers.engine.upkeep import redis_hash

_log = logging.getLogger(__name__)

#: How often unchanged snapshots are written again, in case Redis has lost them.
_WRITE_AGAIN_S = 60.0


class SnapshotWriter:
    """Writes the snapshots of one worker, and remembers which it has written."""

    def __init__(self, records: Redis) -> None:
        self._records = records
        self._written: dict[str, DesiredDeployment] = {}
        self._forgotten_at = -math.inf
        #: The last error of Redis, "" if there was none: the same error is logged once.
        self._refusal = ""

    async def write(self, desired: Iterable[DesiredDeployment]) -> None:
        """Write the changed snapshots of serving deployments, and remove those of other deployments."""
        if time.monotonic() - self._forgotten_at > _WRITE_AGAIN_S:
            self._written, self._forgotten_at = {}, time.monotonic()
        everything = list(desired)
        serving = {each.endpoint_name: each for each in everything if each.intent is Intent.SERVE}
        changed = {name: each for name, each in serving.items() if self._written.get(name) != each}
        texts = {name: snapshots.encode(each) for name, each in changed.items()}
        gone = [each.endpoint_name for each in everything if each.endpoint_name not in serving]
        gone += [name for name, text in texts.items() if text is None]
        try:
            new = {name: text for name, text in texts.items() if text is not None}
            await redis_hash.update(self._records, keys.DEPLOYMENTS, new, gone)
        except RedisError as error:
            if str(error) != self._refusal:
                _log.warning("writing the snapshots of deployments for the API failed: %s", error)
            self._refusal = str(error)
        else:
            self._written, self._refusal = serving, ""
