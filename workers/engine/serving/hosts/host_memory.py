"""The memory of one slot's hosts: claimed before a start, measured after the load, free when the host has exited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from registry.deployments import DesiredDeployment
from workers.engine.context import Context
from workers.engine.memory.budget import MEASUREMENT_ERROR_BYTES, Claim, Need
from workers.hosts.worker_side.host import RemoteHost

_log = logging.getLogger(__name__)


class HostMemory:
    """Claims the memory of one host after another; `waits_for` says why there is none now."""

    def __init__(self, context: Context, on_change: Callable[[], None]) -> None:
        self.waits_for: str | None = None
        self._context = context
        self._on_change = on_change
        self._claim: Claim | None = None
        #: What hosts had whose load was ended, by the checksum of the artifact (bytes).
        self._had_bytes: dict[str, int] = {}

    async def claim(self, wanted: DesiredDeployment) -> Claim:
        """Wait until there is memory for a host.

        Raises:
            HostStartFailed: it can't ever fit.
        """
        need = await self._context.versions.need(wanted)
        had_bytes = self._had_bytes.get(wanted.artifact_sha256, 0)
        claim = Claim(wanted.endpoint_name, wanted.artifact_sha256, need.at_least(had_bytes), had_bytes)
        self._claim = await self._context.memory.claim(claim, self._waits)
        return claim

    def started(self, claim: Claim, host: RemoteHost) -> None:
        """Keep the claim until the host has exited."""
        claim.pid = host.pid
        if not claim.need.is_measured:
            claim.kill = host.kill
        host.exited.add_done_callback(lambda _: self._context.memory.release(claim))

    async def fits(self, claim: Claim, host: RemoteHost) -> bool:
        """Measure a loaded host; False if it needs more than was guessed, and others need that memory."""
        was_guess, claim.kill = not claim.need.is_measured, None
        claim.is_loading = False
        usage = await asyncio.to_thread(self._context.measure_memory, host.pid)
        if usage.private_bytes:
            claim.need = Need(usage.private_bytes, is_measured=True)  # or a guess that was too large would be kept
            self._context.memory.measured({host.pid: usage})
            await self._context.versions.measured_loaded(claim.artifact_sha256, usage.private_bytes)
        self._context.memory.relieve()
        self._context.memory.serve_waiters()  # less may be kept for it
        too_much = was_guess and self._context.memory.over_bytes > MEASUREMENT_ERROR_BYTES
        if too_much:
            _log.info("a host of %s needs more memory than is free: starting it later", claim.endpoint_name)
        return not too_much

    def refused(self, claim: Claim) -> None:
        """Remember what a host had whose load was ended: the next one starts when so much is free, still as a guess."""
        if claim.usage is not None:
            had_bytes = self._had_bytes.get(claim.artifact_sha256, 0)
            self._had_bytes[claim.artifact_sha256] = max(had_bytes, claim.usage.private_bytes)

    def ending(self) -> None:
        """Record that the host is about to exit."""
        if self._claim is not None:
            self._claim.is_ending = True

    def _waits(self, reason: str | None) -> None:
        has_changed = (self.waits_for is None) != (reason is None)
        self.waits_for = reason
        if has_changed:
            self._on_change()
