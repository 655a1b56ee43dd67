"""The share of a GPU of one slot's hosts: claimed before a start, given back when the host has exited."""

from __future__ import annotations

from collections.abc import Callable

from registry.deployments import DesiredDeployment
from workers.engine.context import Context
from workers.engine.gpus.shares import GpuClaim
from workers.hosts.worker_side.host import RemoteHost


class HostGpu:
    """Claims a share for one host after another; `waits_for` says why there is none now."""

    def __init__(self, context: Context, on_change: Callable[[], None]) -> None:
        self.waits_for: str | None = None
        self._context = context
        self._on_change = on_change

    async def claim(self, wanted: DesiredDeployment) -> GpuClaim | None:
        """Wait until a GPU has room for a host; None if it needs none.

        Raises:
            HostStartFailed: it can't ever fit here.
        """
        if not wanted.settings.gpu:
            return None
        claim = _claim(wanted, *await self._context.versions.gpu_need(wanted))
        return await self._context.gpus.claim(claim, self._waits)

    def started(self, claim: GpuClaim | None, host: RemoteHost) -> None:
        """Keep the claim until the host has exited."""
        if claim is not None:
            claim.pid = host.pid
            host.exited.add_done_callback(lambda _: self._context.gpus.release(claim))

    def release(self, claim: GpuClaim | None) -> None:
        """Give a claim back that no host has taken over."""
        if claim is not None and claim.pid is None:
            self._context.gpus.release(claim)

    def _waits(self, reason: str | None) -> None:
        has_changed = (self.waits_for is None) != (reason is None)
        self.waits_for = reason
        if has_changed:
            self._on_change()


def has_room(context: Context, wanted: DesiredDeployment) -> bool:
    """Whether a GPU has room for another host of a loaded version without an end of others; True if it needs none."""
    if not wanted.settings.gpu:
        return True
    return context.gpus.has_room(_claim(wanted, *context.versions.known_gpu_need(wanted)))


def _claim(wanted: DesiredDeployment, need_bytes: int, is_measured: bool) -> GpuClaim:
    return GpuClaim(
        wanted.endpoint_name,
        (wanted.model_name, wanted.version, wanted.settings.gpu),
        wanted.settings.gpu,
        need_bytes,
        is_measured,
        wanted.artifact_size_bytes,
        wanted.artifact_sha256,
        wanted.settings.may_sleep,
    )
