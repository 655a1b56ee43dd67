"""Reads from the registry what is intended with an endpoint: once for all that ask together on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context

from api.errors import ServerBusy
from api.process.job_loop import JobLoop
from registry import deployments
from registry.database import Database
from registry.deployments import Intent
from registry.errors import RegistryUnavailable


class Intents:
    """Thousands of event streams ask at once when an endpoint loses its last worker; of one event loop."""

    def __init__(self, jobs: JobLoop, database: Callable[[], Database]) -> None:
        self._jobs = jobs
        self._database = database
        self._reading: dict[str, asyncio.Task[Intent | None]] = {}

    def read(self, endpoint_name: str) -> Intent | None:
        """Return the intent of an endpoint; None if there was none, or the registry can't be reached."""
        try:
            with self._database().session() as session:
                found = deployments.find(session, endpoint_name)
        except RegistryUnavailable:
            return None
        return None if found is None else found.intent

    async def read_on_loop(self, endpoint_name: str) -> Intent | None:
        """The same on the event loop; None also if no thread is free."""
        reading = self._reading.get(endpoint_name)
        if reading is None:
            # Not in the context of the request that came first: log lines would be about that one.
            reading = asyncio.get_running_loop().create_task(self._read(endpoint_name), context=Context())
            self._reading[endpoint_name] = reading
        return await asyncio.shield(reading)

    async def _read(self, endpoint_name: str) -> Intent | None:
        try:
            return await self._jobs.in_thread(self.read, endpoint_name)
        except ServerBusy:
            return None
        finally:
            del self._reading[endpoint_name]
