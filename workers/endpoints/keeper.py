"""The duty that reads the names of the endpoints that take jobs from the registry, and answers who misses one."""

from __future__ import annotations

import threading
import time

from registry import deployments
from registry.database import Database, default_database
from workers import keys
from workers.endpoints import names
from workers.platform.redis.client import records_client

_READ_EVERY_S = 5.0
#: Questions are published; one whose message is lost is seen after this time.
_LOOK_EVERY_S = 1.0


class NamesKeeper:
    """Keeps the names; any number of background processes may have one."""

    name = "keeping the names of endpoints"

    def __init__(self, database: Database | None = None) -> None:
        self._database = database
        self._answered = 0
        self._read_at = -_READ_EVERY_S

    def run(self, stopping: threading.Event) -> None:
        """Read the names until `stopping` is set.

        Raises:
            redis.RedisError: Redis can't be reached.
            RegistryUnavailable: the registry can't be reached.
        """
        with records_client().pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(keys.TAKING_JOBS_CHANNEL)
            while not stopping.is_set():
                self.read_if_due()
                channel.get_message(timeout=_LOOK_EVERY_S)

    def read_if_due(self) -> None:
        """Read the names if somebody has asked, or some time has passed. Raises as `run`."""
        asked = names.asked()
        if asked != self._answered or time.monotonic() - self._read_at >= _READ_EVERY_S:
            self.read(asked)

    def read(self, asked: int) -> None:
        """Read the names, after so many questions. Raises as `run`."""
        started_at = time.monotonic()
        with (self._database or default_database()).session() as session:
            found = deployments.taking_jobs(session)
        names.write(found, asked)
        self._answered, self._read_at = asked, started_at
