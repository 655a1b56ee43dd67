"""This worker's environments: one is built at a time, beside the event loop, for all its endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from registry.environments.cache import EnvironmentCache, HeldEnvironment
from registry.environments.environment import Environment


class Environments:
    """Returns environments that are built, and builds others; belongs to one event loop."""

    def __init__(self, cache: EnvironmentCache, read: Callable[[str], Environment]) -> None:
        """Take a cache, and what reads the locked environment with this digest from the registry."""
        self._cache = cache
        self._read = read
        self._builder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="queuecast-environments")

    async def hold(self, sha256: str, report: Callable[[str], None]) -> HeldEnvironment:
        """Return an environment, held; while it is being built, `report` gets the step.

        Raises:
            EnvironmentsOff: the settings don't allow environments.
            EnvironmentBuildFailed: it can't be built.
            EnvironmentNotFound, RegistryUnavailable: the registry doesn't have it, or can't be read.
        """
        if (found := await asyncio.to_thread(self._cache.held, sha256)) is not None:
            return found
        environment = await asyncio.to_thread(self._read, sha256)
        loop = asyncio.get_running_loop()
        report("waiting for another build")

        def report_on_loop(step: str) -> None:
            loop.call_soon_threadsafe(report, step)

        return await loop.run_in_executor(self._builder, self._cache.hold, environment, report_on_loop)

    def close(self) -> None:
        """Kill the build that is under way; block until that is done. Any thread may call it."""
        self._cache.close()
        self._builder.shutdown(cancel_futures=True)
