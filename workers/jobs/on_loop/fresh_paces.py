"""Keeps the paces of endpoints fresh for an event loop, which must not read them itself."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context

from workers.measures import paces


class FreshPaces:
    """Reads the reports of workers in a thread of its own, once for all callers; of one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "queuecast-paces")
        self._reading: asyncio.Task[None] | None = None

    async def read(self, endpoint_name: str) -> bool:
        """Have the reports read again if they are too old to tell the pace of an endpoint.

        Waits, and returns True, only if the last ones can't be used meanwhile.
        """
        if not paces.default_paces().is_due(endpoint_name):
            return False
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read(endpoint_name), context=Context())
        if paces.default_paces().is_usable(endpoint_name):
            return False
        await asyncio.shield(self._reading)
        return True

    def close(self) -> None:
        """Read no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _read(self, endpoint_name: str) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, paces.default_paces().of, endpoint_name)
