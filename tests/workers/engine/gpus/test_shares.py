"""Shares of GPUs: who gets which, who waits for what, and who ends for others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from workers.engine.gpus.devices import Gpu
from workers.engine.gpus.nvidia_smi import Look, SeenGpu
from workers.engine.gpus.shares import GpuClaim, GpuShares
from workers.errors import HostStartFailed

MEBIBYTE = 1 << 20


def gpu(gpu_id: str, memory_mib: int | None = None) -> Gpu:
    return Gpu(gpu_id, f"GPU-{gpu_id}", "toy", None if memory_mib is None else memory_mib * MEBIBYTE)


def claim(
    share: float = 1.0, name: str = "e", need_mib: int = 0, version: str = "1", *, measured: bool = False
) -> GpuClaim:
    return GpuClaim(name, (version, share), share, need_mib * MEBIBYTE, measured)


def look(shares: GpuShares, used_mib: dict[str, int], processes: dict[tuple[str, int], int]) -> Look:
    seen = [
        SeenGpu(each.id, each.uuid or "", "", each.memory_bytes, used_mib[each.id] * MEBIBYTE) for each in shares.gpus
    ]
    return Look(seen, {(f"GPU-{place}", pid): size * MEBIBYTE for (place, pid), size in processes.items()})


@dataclass
class Sleeper:
    """An endpoint whose hosts may end; `shares` are theirs."""

    name: str
    used_at: float
    shares: GpuShares
    claims: Sequence[GpuClaim] = ()
    can_sleep: bool = True
    slept: list[str] = field(default_factory=list)

    def evict(self) -> bool:
        self.slept.append(self.name)
        for each in self.claims:
            self.shares.release(each)
        return True


async def waits(shares: GpuShares, wanted: GpuClaim) -> tuple[asyncio.Task[GpuClaim], list[str | None]]:
    """Claim what is not free; return the waiting task and the reasons."""
    reasons: list[str | None] = []
    task = asyncio.create_task(shares.claim(wanted, reasons.append))
    await asyncio.sleep(0)
    assert not task.done()
    return task, reasons


async def test_hosts_are_packed_so_that_whole_gpus_stay_free() -> None:
    shares = GpuShares([gpu("0"), gpu("1")])
    places = [(await shares.claim(claim(share, name=str(share)))).gpu for share in (0.3, 0.3, 0.3, 0.5, 0.5)]
    assert [each.id for each in places if each] == ["0", "0", "0", "1", "1"]
    assert [shares.share_of(each) for each in shares.gpus] == [0.9, 1.0]


async def test_what_does_not_fit_now_waits_and_says_so_and_gets_what_is_given_back() -> None:
    shares = GpuShares([gpu("0")])
    first = await shares.claim(claim(0.75, "a"))
    waiting, reasons = await waits(shares, claim(0.5, "b"))
    assert reasons == ["waits for a GPU: needs a share of 0.5 (GPU 0 has 0.25 free)"]
    shares.release(first)
    assert (await waiting).gpu == gpu("0")
    assert reasons[1:] == [None]
    shares.release(first)  # once more: nothing
    assert shares.share_of(shares.gpus[0]) == 0.5


async def test_tenths_add_up_to_a_whole() -> None:
    shares = GpuShares([gpu("0")])
    for number in range(10):
        await shares.claim(claim(0.1, str(number)))
    assert shares.share_of(shares.gpus[0]) == 1.0


async def test_a_wait_that_is_given_up_holds_nothing() -> None:
    shares = GpuShares([gpu("0")])
    first = await shares.claim(claim(1, "a"))
    waiting, _ = await waits(shares, claim(1, "b"))
    waiting.cancel()
    await asyncio.wait([waiting])
    shares.release(first)
    assert shares.share_of(shares.gpus[0]) == 0
    assert (await shares.claim(claim(1, "c"))).gpu == gpu("0")


async def test_without_a_gpu_the_refusal_says_what_to_do() -> None:
    with pytest.raises(HostStartFailed, match=r"No live worker of the group has a GPU.*gpu 0\.5.*QUEUECAST_GPUS"):
        await GpuShares().claim(claim(0.5))


async def test_what_can_not_ever_fit_is_refused_with_the_figures() -> None:
    shares = GpuShares([gpu("0", 8_000), gpu("1", 16_000)])
    figures = r"needs 20000 MiB of GPU memory, and the largest GPU of this worker has 16000 MiB"
    with pytest.raises(HostStartFailed, match=figures):
        await shares.claim(claim(need_mib=20_000, measured=True))
    large = claim()
    large.artifact_bytes = 20_000 * MEBIBYTE
    with pytest.raises(HostStartFailed, match=figures):
        await shares.claim(large)
    assert (await shares.claim(claim(need_mib=20_000))).gpu is not None, "a guess may be too large"


async def test_memory_counts_as_measured_by_process_and_of_other_programs() -> None:
    measured: list[tuple[str, int | None]] = []
    shares = GpuShares([gpu("0", 10_000)])
    shares.on_measured = lambda each: measured.append((each.endpoint_name, each.used_bytes))
    first = await shares.claim(claim(0.1, "a", need_mib=1_000))
    first.pid = 4_711
    shares.measured(look(shares, {"0": 6_500}, {("0", 4_711): 6_000}))
    assert measured == [("a", 6_000 * MEBIBYTE)]
    assert shares.used_bytes(shares.gpus[0]) == 6_500 * MEBIBYTE
    await shares.claim(claim(0.1, "b", need_mib=3_000, measured=True))
    waiting, reasons = await waits(shares, claim(0.1, "c", need_mib=1_000, measured=True))
    assert reasons == [
        "waits for a GPU: needs a share of 0.1 (GPU 0 has 0.8 free) and 1000 MiB (GPU 0 has 500 MiB free)"
    ]
    shares.measured(look(shares, {"0": 6_000}, {("0", 4_711): 6_000}))
    assert (await waiting).gpu is not None


async def test_a_swap_on_the_only_gpu_has_the_share_of_the_version_that_it_replaces() -> None:
    shares = GpuShares([gpu("0")])
    first = await shares.claim(claim(1, "e", version="1"))
    second = await shares.claim(claim(1, "e", version="2"))
    assert second.gpu is first.gpu
    waiting, _ = await waits(shares, claim(1, "other"))
    shares.release(first)
    await asyncio.sleep(0)
    assert not waiting.done()
    shares.release(second)
    await waiting


async def test_another_host_of_the_same_version_does_not_replace_it() -> None:
    shares = GpuShares([gpu("0")])
    await shares.claim(claim(1, "e"))
    waiting, _ = await waits(shares, claim(1, "e"))
    waiting.cancel()


async def test_idle_deployments_end_for_others_least_recently_used_first_and_no_more_than_needed() -> None:
    sleepers: list[Sleeper] = []
    shares = GpuShares([gpu("0"), gpu("1")], sleepers=lambda: sleepers)
    held = {name: await shares.claim(claim(share, name)) for name, share in (("old", 0.5), ("new", 0.5), ("busy", 1))}
    assert [each.gpu.id for each in held.values() if each.gpu] == ["0", "0", "1"]
    sleepers += [Sleeper("new", 2.0, shares, [held["new"]]), Sleeper("old", 1.0, shares, [held["old"]])]
    sleepers.append(Sleeper("busy", 0.0, shares, [held["busy"]], can_sleep=False))
    assert (await shares.claim(claim(0.5, "a"))).gpu == gpu("0")
    assert [each.slept for each in sleepers] == [[], ["old"], []]
    assert shares.evictions == 1
    waiting, _ = await waits(shares, claim(1, "b"))
    assert sleepers[0].slept == [], "its end would not be enough"
    waiting.cancel()


async def test_several_that_wait_are_served_by_one_that_ends_at_once() -> None:
    sleepers: list[Sleeper] = []
    shares = GpuShares([gpu("0")], sleepers=lambda: sleepers)
    held = await shares.claim(claim(1, "old"))
    waiting = [(await waits(shares, claim(0.3, name)))[0] for name in "ab"]
    sleepers.append(Sleeper("old", 1.0, shares, [held]))
    shares.serve_waiters()
    assert [(await each).gpu for each in waiting] == [gpu("0"), gpu("0")]
    assert sleepers[0].slept == ["old"]


async def test_hosts_that_are_about_to_exit_are_waited_for_and_no_more_end() -> None:
    sleepers: list[Sleeper] = []
    shares = GpuShares([gpu("0"), gpu("1")], sleepers=lambda: sleepers)
    held = {name: await shares.claim(claim(1, name)) for name in ("old", "new")}
    # Their hosts take a while to exit: nothing is given back yet.
    sleepers += [Sleeper("old", 1.0, shares), Sleeper("new", 2.0, shares)]
    waiting, reasons = await waits(shares, claim(1, "a"))
    shares.serve_waiters()
    assert [each.slept for each in sleepers] == [["old"], []]
    assert reasons == []
    shares.release(held["old"])
    assert (await waiting).gpu == gpu("0")


async def test_what_ends_for_one_that_waits_is_not_given_to_those_behind_it() -> None:
    sleepers: list[Sleeper] = []
    shares = GpuShares([gpu("0"), gpu("1")], sleepers=lambda: sleepers)
    held = [await shares.claim(claim(0.5, name)) for name in ("old", "new")]
    other = await shares.claim(claim(1, "other"))
    sleepers += [Sleeper("old", 1.0, shares), Sleeper("new", 2.0, shares), Sleeper("other", 3.0, shares)]
    large, _ = await waits(shares, claim(0.8, "large"))
    assert [each.slept for each in sleepers] == [["old"], ["new"], []]
    small, _ = await waits(shares, claim(0.2, "small"))
    assert sleepers[2].slept == [], "there is room beside the large one"
    shares.release(held[0])
    await asyncio.sleep(0)
    assert not small.done(), "else the large one would wait for the end of yet another"
    shares.release(held[1])
    assert [(await each).gpu for each in (large, small)] == [gpu("0"), gpu("0")]
    assert other.gpu == gpu("1")


@dataclass
class Clock:
    """The time of the shares, which tests set."""

    s: float = 0.0

    def __call__(self) -> float:
        return self.s


async def pass_by(shares: GpuShares, held: GpuClaim, name: str) -> tuple[bool, asyncio.Task[GpuClaim]]:
    """Claim half a GPU, give another half back then, and return whether the claim is granted with that."""
    task = asyncio.create_task(shares.claim(claim(0.5, name)))
    await asyncio.sleep(0)
    shares.release(held)
    await asyncio.sleep(0)
    return task.done(), task


async def test_smaller_claims_pass_one_for_a_whole_gpu_for_some_time_only() -> None:
    clock = Clock()
    shares = GpuShares([gpu("0"), gpu("1")], now_s=clock)
    held = [await shares.claim(claim(0.5, name)) for name in "abcd"]
    whole, _ = await waits(shares, claim(1, "whole"))
    clock.s = 29.0
    passes, first = await pass_by(shares, held[0], "e")
    assert passes
    clock.s = 31.0
    shares.release(held[1])
    passes, second = await pass_by(shares, await first, "f")
    assert not passes
    assert (await whole).gpu == gpu("0"), "the first one that was free"
    shares.release(held[2])
    assert (await second).gpu == gpu("1")


async def test_a_gpu_is_kept_for_a_bounded_time_where_its_hosts_never_have_a_moment_without_jobs() -> None:
    clock = Clock()
    shares = GpuShares([gpu("0")], now_s=clock)
    busy = await shares.claim(claim(0.5, "busy"))
    whole, _ = await waits(shares, claim(1, "whole"))
    clock.s = 31.0
    small, _ = await waits(shares, claim(0.5, "small"))
    clock.s = 91.0
    shares.serve_waiters()
    assert (await small).gpu == gpu("0")
    clock.s = 121.0
    shares.release(small.result())
    later, _ = await waits(shares, claim(0.5, "later"))
    shares.release(busy)
    assert (await whole).gpu == gpu("0")
    later.cancel()


async def test_no_gpu_is_kept_where_hosts_stay_for_ever() -> None:
    clock = Clock()
    shares = GpuShares([gpu("0")], now_s=clock)
    fixed = claim(0.5, "fixed")
    fixed.may_end = False
    await shares.claim(fixed)
    whole, _ = await waits(shares, claim(1, "whole"))
    clock.s = 31.0
    assert (await shares.claim(claim(0.5, "small"))).gpu == gpu("0")
    whole.cancel()


async def test_idle_hosts_of_a_kept_gpu_end_one_after_the_other_as_they_become_idle() -> None:
    clock = Clock()
    sleepers: list[Sleeper] = []
    shares = GpuShares([gpu("0")], lambda: sleepers, now_s=clock)
    sleepers += [Sleeper(name, 1.0, shares, [await shares.claim(claim(0.5, name))], can_sleep=False) for name in "ab"]
    whole, _ = await waits(shares, claim(1, "whole"))
    sleepers[0].can_sleep = True
    shares.serve_waiters()
    assert sleepers[0].slept == [], "its end would not be enough"
    clock.s = 31.0
    shares.serve_waiters()
    assert [each.slept for each in sleepers] == [["a"], []]
    sleepers[:1] = []
    again, _ = await waits(shares, claim(0.5, "a"))
    sleepers[0].can_sleep = True
    shares.serve_waiters()
    assert (await whole).gpu == gpu("0")
    assert not again.done()
    again.cancel()


async def test_claims_are_served_again_and_again_also_where_no_memory_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.engine.gpus.shares._INTERVAL_IF_CHANGING_S", 0.01)
    sleepers: list[Sleeper] = []
    shares = GpuShares([gpu("0")], lambda: sleepers)
    sleepers.append(Sleeper("busy", 1.0, shares, [await shares.claim(claim(1, "busy"))], can_sleep=False))
    waiting, _ = await waits(shares, claim(1, "a"))
    running = asyncio.create_task(shares.run())
    sleepers[0].can_sleep = True
    async with asyncio.timeout(10):
        assert (await waiting).gpu == gpu("0")
    running.cancel()


async def test_a_look_that_fails_changes_nothing_and_a_good_one_is_taken() -> None:
    found: list[Look | None] = [None]
    shares = GpuShares([gpu("0", 10_000)], look=lambda: found[0])
    await shares.measure()
    assert shares.used_bytes(shares.gpus[0]) is None
    found[0] = look(shares, {"0": 700}, {})
    await shares.measure()
    assert shares.used_bytes(shares.gpus[0]) == 700 * MEBIBYTE
