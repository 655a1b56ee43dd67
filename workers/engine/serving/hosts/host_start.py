"""Starting a model host: its environment, the GPU and the memory for it, its process, and its model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from registry.deployments import DesiredDeployment
from registry.environments.cache import HeldEnvironment
from workers.engine.context import Context
from workers.engine.gpus.shares import GpuClaim
from workers.engine.memory.budget import Claim
from workers.engine.serving.hosts.host_feed import memory_limit_bytes
from workers.engine.serving.hosts.host_gpu import HostGpu
from workers.engine.serving.hosts.host_memory import HostMemory
from workers.errors import HostStartFailed
from workers.hosts import processes
from workers.hosts.worker_side.host import HostGone, LoadRequest, RemoteHost


class HostStart:
    """Starts one host after another for a slot.

    Args:
        proves_time_limit: whether a host has to predict the example within `timeout_s`.
    """

    def __init__(
        self,
        context: Context,
        deployment: Callable[[], DesiredDeployment],
        proves_time_limit: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        #: The step of building the environment; None unless it is being built.
        self.building: str | None = None
        self.memory = HostMemory(context, on_change)
        self._gpu = HostGpu(context, on_change)
        self._context = context
        self._deployment = deployment
        self._proves_time_limit = proves_time_limit
        self._on_change = on_change

    @property
    def waits_for(self) -> str | None:
        """Why there is no GPU or no memory for a host now; None if it doesn't wait for them."""
        return self._gpu.waits_for or self.memory.waits_for

    async def host(self) -> RemoteHost:
        """Start a host once there is room for it, and load the model."""
        while True:
            wanted, claim, gpu = self._deployment(), None, None
            environment = await self._hold_environment(wanted)
            try:
                python = None if environment is None else environment.python
                if not wanted.settings.gpu:
                    self._context.launcher.warm_up(wanted.runtime, python)  # in parallel with fetching the artifact
                # First the GPU, in all slots: one that waits for it has no memory that another one waits for.
                gpu = await self._gpu.claim(wanted)
                claim = await self.memory.claim(wanted)
                async with self._context.load_turns.turn():
                    if self._context.memory.over_bytes:  # others have grown, or libraries are there that weren't
                        continue
                    # Settings may have changed during the wait.
                    host = await self._load_host(self._deployment(), claim, gpu, environment)
            except HostStartFailed:
                if claim is None or not claim.is_refused:
                    raise
                self.memory.refused(claim)
                continue
            finally:
                self._gpu.release(gpu)
                if claim is None or claim.pid is None:
                    self._release(claim, environment)
            if await self._fits(host, claim):
                return host

    def _release(self, claim: Claim | None, environment: HeldEnvironment | None) -> None:
        """Release what no host has taken over: garbage collection would release an environment late."""
        if claim is not None:
            self._context.memory.release(claim)
        if environment is not None:
            environment.release()

    async def _fits(self, host: RemoteHost, claim: Claim) -> bool:
        """Measure a loaded host, and stop it if there isn't enough memory, or if its slot is stopped meanwhile."""
        fits = False
        try:
            fits = await self.memory.fits(claim, host)
        finally:
            if not fits:
                await asyncio.shield(host.stop())
        return fits

    async def _load_host(
        self, wanted: DesiredDeployment, claim: Claim, gpu: GpuClaim | None, environment: HeldEnvironment | None
    ) -> RemoteHost:
        """Start a host and load the model; the artifact's checksum is verified each time."""
        python = None if environment is None else environment.python
        artifact = await asyncio.to_thread(self._context.artifacts.hold, wanted.artifact_sha256)
        request = LoadRequest(
            str(artifact.path),
            wanted.runtime,
            dict(wanted.runtime_options),
            wanted.signature.model_dump(mode="json"),
            wanted.input_example,
            wanted.endpoint_name,
            self._context.settings.log_format,
            f"host {wanted.endpoint_name} v{wanted.version} ({self._context.worker_name})",
        )
        gpu_id = None if gpu is None or gpu.gpu is None else gpu.gpu.id
        host = await self._context.launcher.spawn(wanted.runtime, memory_limit_bytes(wanted), python, gpu_id)
        self.memory.started(claim, host)
        self._gpu.started(gpu, host)
        # The host may read the files until it exits. If it doesn't start, garbage collection releases the artifact.
        host.exited.add_done_callback(lambda _: artifact.release())
        if environment is not None:
            host.exited.add_done_callback(lambda _: environment.release())
        try:
            await self._load(host, request, wanted)
        except BaseException:
            await asyncio.shield(host.stop())
            raise
        return host

    async def _load(self, host: RemoteHost, request: LoadRequest, wanted: DesiredDeployment) -> None:
        """Load the model, after others that serve meanwhile: they have the processor first."""
        usual = processes.own_niceness()
        is_for_now = not wanted.is_replay and processes.can_be_less_nice()
        if wanted.is_replay:
            host.set_nice(processes.NICE)
        elif is_for_now:
            host.set_nice(usual + processes.LOADING_NICE)
        await host.load(request, self._context.settings.load_timeout_s)
        if is_for_now:
            host.set_nice(usual)
        if self._proves_time_limit():
            await _prove_time_limit(host, wanted)

    async def _hold_environment(self, wanted: DesiredDeployment) -> HeldEnvironment | None:
        """Return the version's environment, which may take minutes to build; None is the worker's own."""
        if wanted.environment_sha256 is None:
            return None

        def report(step: str) -> None:
            self.building = step
            self._on_change()

        try:
            return await self._context.environments.hold(wanted.environment_sha256, report)
        finally:
            self.building = None


async def _prove_time_limit(host: RemoteHost, wanted: DesiredDeployment) -> None:
    """Predict the input example once more. Raises HostStartFailed if that takes longer than `timeout_s`."""
    if wanted.input_example is None:
        return
    timeout_s = wanted.settings.timeout_s
    try:
        await host.predict([wanted.input_example], 1, timeout_s)
    except HostGone as error:
        usual = "" if host.example_ms is None else f" Without the limit it took {host.example_ms / 1000:.3g} s."
        reason = f"With timeout_s {timeout_s:g}, {error} It predicted the model's input example.{usual}"
        raise HostStartFailed(reason) from error
