"""Gives shares of a worker's GPUs to model hosts, and ends idle hosts when others need one.

A host has its share from before its start until it has exited. Shares of one GPU are 1 together at most. Where
nvidia-smi shows memory, a host also needs so much of it: what was measured of its version, or a guess. Belongs to one
event loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from workers.engine.gpus import nvidia_smi
from workers.engine.gpus.devices import Gpu
from workers.engine.gpus.nvidia_smi import Look
from workers.engine.memory.budget import Sleeper, mebibytes
from workers.errors import HostStartFailed

_log = logging.getLogger(__name__)

#: Shares such as 0.1 have no exact sum.
_ROUNDING = 1e-6
#: Intervals of looks: each is a process of its own, which takes up to a second.
_INTERVAL_S = 10.0
_INTERVAL_IF_CHANGING_S = 2.0
#: A claim that can't be served yet is passed by later ones for so long; then a GPU is kept for it for so long; and so
#: on. It ends again, or those behind it would wait for a host that never has a moment without jobs.
_PASSED_S = 30.0
_KEPT_S = 60.0


@dataclass(eq=False, slots=True)
class GpuClaim:
    """The share of one host, and the memory that it needs there."""

    endpoint_name: str
    #: What the hosts of one version with one share have in common.
    content: object
    share: float
    need_bytes: int
    #: Whether a host of the version was measured; else the need is a guess, which refuses nothing.
    is_measured: bool = False
    #: The size of the artifact: a GPU with less memory can't hold the model.
    artifact_bytes: int = 0
    artifact_sha256: str = ""
    #: Whether its host may end for others, in a moment without jobs.
    may_end: bool = True
    #: None until it is granted.
    gpu: Gpu | None = None
    #: None until it has started.
    pid: int | None = None
    #: None until it was measured.
    used_bytes: int | None = None
    #: Whether its host ends because others need the GPU.
    is_ending: bool = False

    def replaces(self, other: GpuClaim) -> bool:
        """Whether it is of another version or share of the same endpoint: one takes the place of the other."""
        return self.endpoint_name == other.endpoint_name and self.content != other.content


@dataclass(eq=False, slots=True)
class _Waiter:
    claim: GpuClaim
    granted: asyncio.Future[None]
    on_wait: Callable[[str | None], None]
    #: When it began to wait (s).
    began_s: float
    has_reason: bool = False


#: A claim that waits, and the GPU on which others end for it.
_Promise = tuple[Gpu, GpuClaim]


@dataclass
class GpuShares:
    """The GPUs of one worker and who has them; by default there are none."""

    gpus: Sequence[Gpu] = ()
    #: Returns the endpoints that may be put to sleep.
    sleepers: Callable[[], Sequence[Sleeper]] = tuple
    look: Callable[[], Look | None] = nvidia_smi.look
    #: Called with a claim whose host was measured.
    on_measured: Callable[[GpuClaim], object] = lambda _: None
    now_s: Callable[[], float] = time.monotonic
    #: How many endpoints were put to sleep because others needed a GPU.
    evictions: int = 0
    _claims: set[GpuClaim] = field(default_factory=set)
    _waiters: list[_Waiter] = field(default_factory=list)
    #: What is used of each GPU by the last look, by whatever process (bytes).
    _used_bytes: dict[str, int] = field(default_factory=dict)

    async def claim(self, claim: GpuClaim, on_wait: Callable[[str | None], None] = lambda _: None) -> GpuClaim:
        """Wait until a GPU has room for a host; `on_wait` gets the reason, and None at the end.

        Raises:
            HostStartFailed: it can't ever fit here.
        """
        self._refuse_if_impossible(claim)
        waiter = _Waiter(claim, asyncio.get_running_loop().create_future(), on_wait, self.now_s())
        self._waiters.append(waiter)
        try:
            self.serve_waiters()
            await waiter.granted
        except BaseException:
            self.release(claim)
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            if waiter.has_reason:
                on_wait(None)
        return claim

    def release(self, claim: GpuClaim) -> None:
        """Give a share back; further calls do nothing."""
        if claim not in self._claims:
            return
        self._claims.remove(claim)
        if claim.gpu is not None and claim.gpu.id in self._used_bytes:
            self._used_bytes[claim.gpu.id] -= claim.used_bytes or 0  # until the next look
        self.serve_waiters()

    def serve_waiters(self) -> None:
        """Grant what fits, in the order of the claims; what is about to be free for one is not given to the next.

        A claim that nothing is about to be free for is passed by the next ones, but not for long.
        """
        promised: list[_Promise] = []
        for waiter in list(self._waiters):
            if waiter not in self._waiters:  # granted meanwhile, because another endpoint sleeps now
                continue
            if (gpu := self._room_for(waiter.claim, promised)) is not None:
                self._grant(waiter, gpu)
            elif (gpu := self._evict(waiter.claim, promised)) is not None:
                promised.append((gpu, waiter.claim))
            else:
                if (gpu := self._kept(waiter, promised)) is not None:
                    promised.append((gpu, waiter.claim))
                self._give_reason(waiter)

    def _give_reason(self, waiter: _Waiter) -> None:
        if waiter in self._waiters and not waiter.has_reason:
            waiter.has_reason = True
            waiter.on_wait(self._reason(waiter.claim))

    def _grant(self, waiter: _Waiter, gpu: Gpu) -> None:
        self._waiters.remove(waiter)
        if not waiter.granted.done():
            waiter.claim.gpu = gpu
            self._claims.add(waiter.claim)
            waiter.granted.set_result(None)

    def has_room(self, claim: GpuClaim) -> bool:
        """Whether a GPU has room for another host without an end of others."""
        return not self._waiters and self._room_for(claim, ()) is not None

    def share_of(self, gpu: Gpu) -> float:
        """Return the sum of the shares that hosts have of a GPU."""
        return round(sum(each.share for each in list(self._claims) if each.gpu is gpu), 6)

    def used_bytes(self, gpu: Gpu) -> int | None:
        """Return what is used of a GPU; None if that is unknown."""
        return self._used_bytes.get(gpu.id)

    async def run(self) -> None:
        """Look at the GPUs again and again, and whether claims that wait can be served."""
        if not self.gpus:
            await asyncio.Event().wait()
        while True:
            if any(each.memory_bytes for each in self.gpus):
                await self.measure()
            self.serve_waiters()
            is_changing = self._waiters or any(each.used_bytes is None for each in self._claims)
            await asyncio.sleep(_INTERVAL_IF_CHANGING_S if is_changing else _INTERVAL_S)

    async def measure(self) -> None:
        """Look at the GPUs once."""
        if (found := await asyncio.to_thread(self.look)) is not None:
            self.measured(found)

    def measured(self, found: Look) -> None:
        """Take what nvidia-smi shows."""
        used_of = {each.uuid: each.used_bytes for each in found.gpus}
        for gpu in self.gpus:
            if (used_bytes := used_of.get(gpu.uuid or "")) is not None:
                self._used_bytes[gpu.id] = used_bytes
        for claim in self._claims:
            place = (claim.gpu.uuid or "" if claim.gpu else "", claim.pid or 0)
            if (used_bytes := found.used_bytes.get(place)) is not None:
                claim.used_bytes = used_bytes
                self.on_measured(claim)
        self.serve_waiters()

    def _on(self, gpu: Gpu) -> list[GpuClaim]:
        return [each for each in self._claims if each.gpu is gpu]

    def _room_for(
        self, claim: GpuClaim, promised: Sequence[_Promise], without: Collection[GpuClaim] = ()
    ) -> Gpu | None:
        """Return the fullest GPU that has room, so that whole ones stay free; as if some claims had ended."""
        fitting = [gpu for gpu in self.gpus if self._fits(claim, gpu, promised, without)]
        return max(fitting, key=self.share_of, default=None)

    def _fits(self, claim: GpuClaim, gpu: Gpu, promised: Sequence[_Promise], without: Collection[GpuClaim]) -> bool:
        coming = [each for its_gpu, each in promised if its_gpu is gpu]
        others = [*coming, *(each for each in self._on(gpu) if each not in without)]
        shares = sum(each.share for each in others if not claim.replaces(each))
        if shares + claim.share > 1 + _ROUNDING:
            return False
        free_bytes = self._free_bytes(gpu, without)
        if free_bytes is None or (not claim.is_measured and not others):  # a guess must not wait for ever
            return True
        return claim.need_bytes <= free_bytes - sum(each.need_bytes for each in coming)

    def _free_bytes(self, gpu: Gpu, without: Collection[GpuClaim] = ()) -> int | None:
        if gpu.memory_bytes is None:
            return None
        claims = self._on(gpu)
        freed_bytes = sum(each.used_bytes or 0 for each in claims if each in without)
        staying = [each for each in claims if each not in without]
        kept_bytes = sum(max(0, each.need_bytes - (each.used_bytes or 0)) for each in staying)
        used_bytes = max(self._used_bytes.get(gpu.id, 0), sum(each.used_bytes or 0 for each in claims))
        return gpu.memory_bytes - used_bytes + freed_bytes - kept_bytes

    def _evict(self, claim: GpuClaim, promised: Sequence[_Promise]) -> Gpu | None:
        """Let idle endpoints sleep until a GPU has room, least recently used first, and return that GPU.

        None if that isn't enough.
        """
        ending = {each for each in self._claims if each.is_ending}
        if (gpu := self._room_for(claim, promised, ending)) is not None:
            return gpu  # soon
        holders = {each.endpoint_name for each in self._claims}
        idle = [each for each in self.sleepers() if each.name in holders and each.name != claim.endpoint_name]
        chosen: list[Sleeper] = []
        for sleeper in sorted((each for each in idle if each.can_sleep), key=lambda each: each.used_at):
            chosen.append(sleeper)
            names = {each.name for each in chosen}
            also_ending = {each for each in self._claims if each.endpoint_name in names}
            gpu = self._room_for(claim, promised, ending | also_ending)
            if gpu is not None:
                there = {each.endpoint_name for each in self._on(gpu)}
                return gpu if self._end([each for each in chosen if each.name in there]) else None
        return None

    def _kept(self, waiter: _Waiter, promised: Sequence[_Promise]) -> Gpu | None:
        """Return the GPU that is kept for a claim that others have passed for long, and let the idle hosts there end.

        None if it isn't kept now, or would be for ever: for hosts that never end.
        """
        if (self.now_s() - waiter.began_s) % (_PASSED_S + _KEPT_S) < _PASSED_S:
            return None
        claim = waiter.claim
        without = {each for each in self._claims if each.may_end or each.is_ending}
        fitting = [gpu for gpu in self.gpus if self._fits(claim, gpu, promised, without)]
        gpu = min(fitting, key=self.share_of, default=None)
        if gpu is not None:
            there = {each.endpoint_name for each in self._on(gpu) if not each.is_ending} - {claim.endpoint_name}
            self._end([each for each in self.sleepers() if each.name in there and each.can_sleep])
        return gpu

    def _end(self, chosen: Sequence[Sleeper]) -> bool:
        """Let endpoints sleep; their shares are free once their hosts have exited."""
        ended: set[str] = set()
        for sleeper in chosen:
            held = [each for each in self._claims if each.endpoint_name == sleeper.name]
            if sleeper.evict():
                _log.info("ending the idle hosts of %s: others need a GPU", sleeper.name)
                ended.add(sleeper.name)
                for each in held:
                    each.is_ending = True
        self.evictions += len(ended)
        return bool(ended)

    def _reason(self, claim: GpuClaim) -> str:
        shares = ", ".join(f"GPU {gpu.id} has {max(0.0, 1 - self.share_of(gpu)):g}" for gpu in self.gpus)
        free = [(gpu, free) for gpu in self.gpus if (free := self._free_bytes(gpu)) is not None]
        memory = ", ".join(f"GPU {gpu.id} has {mebibytes(max(0, size))} MiB" for gpu, size in free)
        needs = f"waits for a GPU: needs a share of {claim.share:g} ({shares} free)"
        return f"{needs} and {mebibytes(claim.need_bytes)} MiB ({memory} free)" if memory else needs

    def _refuse_if_impossible(self, claim: GpuClaim) -> None:
        if not self.gpus:
            raise HostStartFailed(
                f"No live worker of the group has a GPU, and the deployment has gpu {claim.share:g}. Start a worker of "
                "the group where nvidia-smi shows a GPU, or name its GPUs by QUEUECAST_GPUS; or deploy with gpu 0."
            )
        largest_bytes = max((each.memory_bytes or math.inf) for each in self.gpus)
        sure_bytes = claim.need_bytes if claim.is_measured else claim.artifact_bytes
        if sure_bytes > largest_bytes:
            raise HostStartFailed(
                f"A host of this version needs {mebibytes(sure_bytes)} MiB of GPU memory, and the largest GPU of "
                f"this worker has {mebibytes(int(largest_bytes))} MiB."
            )
