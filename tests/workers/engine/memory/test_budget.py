"""The memory of a worker: who may have how much, who waits, and whose idle hosts end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from tests.support.waiting import until, until_done
from workers.engine.memory.budget import MEBIBYTE, Claim, MemoryBudget, Need
from workers.engine.memory.meter import MemoryMeter
from workers.errors import HostStartFailed
from workers.hosts.processes import MemoryUsage


class FakeEndpoint:
    """Has hosts that end when the test lets them exit."""

    def __init__(self, name: str, used_at: float, *, can_sleep: bool = True) -> None:
        self.name = name
        self.used_at = used_at
        self.can_sleep = can_sleep
        self.slept = False

    def evict(self) -> bool:
        self.slept, self.can_sleep = self.can_sleep, False
        return self.slept


class Worker:
    """A budget of so many MiB, the endpoints that have some of it, and the reasons of waits."""

    def __init__(self, limit_mb: int) -> None:
        self.endpoints: list[FakeEndpoint] = []
        self.budget = MemoryBudget(limit_mb * MEBIBYTE, sleepers=lambda: self.endpoints)
        self.reasons: list[str | None] = []

    async def has(self, name: str, size_mb: int, *, used_at: float = 0.0, can_sleep: bool = True) -> Claim:
        """Have a measured host of an endpoint."""
        claim = await self.claim(name, size_mb)
        self.endpoints.append(FakeEndpoint(name, used_at, can_sleep=can_sleep))
        return claim

    async def claim(self, name: str, size_mb: int, *, is_measured: bool = True, least_mb: int | None = None) -> Claim:
        least_bytes = None if least_mb is None else least_mb * MEBIBYTE
        claim = Claim(name, name, Need(size_mb * MEBIBYTE, is_measured, least_bytes))
        return await self.budget.claim(claim, self.reasons.append)

    async def guess(self, name: str, size_mb: int, least_mb: int) -> Claim:
        """Claim memory for a version that hasn't been measured."""
        return await until_done(self.claim(name, size_mb, is_measured=False, least_mb=least_mb))

    @property
    def slept(self) -> list[str]:
        return [each.name for each in self.endpoints if each.slept]


def run(what: Callable[[Worker], Awaitable[Any]], limit_mb: int = 100) -> None:
    async def within_loop() -> None:
        await what(Worker(limit_mb))

    asyncio.run(within_loop())


def usage(pss_mb: int, private_mb: int) -> MemoryUsage:
    return MemoryUsage(pss_mb * MEBIBYTE, private_mb * MEBIBYTE)


def test_what_fits_is_granted_at_once_and_free_again_after_the_exit() -> None:
    async def fit(worker: Worker) -> None:
        first = await worker.has("a", 60)
        await worker.has("b", 40)
        assert worker.budget.used_bytes == 100 * MEBIBYTE
        worker.budget.release(first)
        worker.budget.release(first)
        assert worker.budget.used_bytes == 40 * MEBIBYTE

    run(fit)


def test_idle_hosts_end_least_recently_used_first_and_no_more_than_are_needed() -> None:
    async def evict(worker: Worker) -> None:
        claims = {name: await worker.has(name, 30, used_at=at) for name, at in (("a", 3.0), ("b", 1.0), ("c", 2.0))}
        waiting = asyncio.create_task(worker.claim("d", 40))
        await until(lambda: worker.slept == ["b"])
        assert not waiting.done()
        assert worker.reasons == []  # it is about to have room
        worker.budget.release(claims["b"])
        await waiting
        assert (worker.slept, worker.budget.evictions) == (["b"], 1)

    run(evict)


def test_only_as_many_are_asked_whether_they_may_end_as_end_or_must_not() -> None:
    asked: list[str] = []

    class Asked(FakeEndpoint):
        @property
        def can_sleep(self) -> bool:
            asked.append(self.name)
            return self.name != "busy"

        @can_sleep.setter
        def can_sleep(self, _: bool) -> None:
            """Stay as it is."""

    async def evict(worker: Worker) -> None:
        for at, name in enumerate(["busy", *map(str, range(9))]):
            await worker.claim(name, 10)
            worker.endpoints.append(Asked(name, used_at=at))
        waiting = asyncio.create_task(worker.claim("next", 10))
        await until(lambda: worker.slept == ["0"])
        assert set(asked) == {"busy", "0"}
        waiting.cancel()
        await asyncio.wait([waiting])

    run(evict)


def test_nothing_ends_for_what_would_not_fit_even_then_and_the_reason_has_the_figures() -> None:
    async def wait(worker: Worker) -> None:
        busy = await worker.has("busy", 60, can_sleep=False)
        await worker.has("idle", 30)
        waiting = asyncio.create_task(worker.claim("large", 80))
        await until(lambda: bool(worker.reasons))
        assert worker.slept == []
        assert worker.reasons[-1] == "waits for memory: needs 80 MiB, 90 of 100 MiB in use"
        worker.budget.release(busy)
        await until(lambda: worker.slept == ["idle"])
        [idle] = worker.budget.claims
        worker.budget.release(idle)
        await waiting
        assert worker.reasons[-1] is None

    run(wait)


def test_an_endpoint_does_not_end_its_own_hosts_for_its_next_version() -> None:
    async def swap(worker: Worker) -> None:
        await worker.has("a", 60)
        waiting = asyncio.create_task(worker.claim("a", 60))
        await until(lambda: bool(worker.reasons))
        assert worker.slept == []
        waiting.cancel()
        await asyncio.wait([waiting])
        assert not worker.budget.has_waiters
        assert worker.budget.used_bytes == 60 * MEBIBYTE

    run(swap)


def test_a_small_one_does_not_take_what_ends_for_a_large_one_that_came_before() -> None:
    async def order(worker: Worker) -> None:
        old = await worker.has("old", 60)
        large = asyncio.create_task(worker.claim("large", 90))
        await until(lambda: worker.slept == ["old"])
        small = asyncio.create_task(worker.claim("small", 20))
        await asyncio.sleep(0)
        assert not small.done()
        worker.budget.release(old)
        await large
        await until(lambda: bool(worker.reasons))
        assert not small.done()
        small.cancel()

    run(order)


def test_one_that_has_to_wait_for_busy_hosts_does_not_hold_up_others() -> None:
    async def overtake(worker: Worker) -> None:
        await worker.has("busy", 60, can_sleep=False)
        large = asyncio.create_task(worker.claim("large", 80))
        await until(lambda: bool(worker.reasons))
        await worker.claim("small", 20)
        large.cancel()

    run(overtake)


def test_what_can_not_ever_fit_is_refused_with_the_figures_and_a_guess_is_tried() -> None:
    async def refuse(worker: Worker) -> None:
        worker.budget.measured({}, shared_bytes=20 * MEBIBYTE)
        with pytest.raises(HostStartFailed, match="needs 90 MiB of memory, and this worker has 80 MiB for hosts"):
            await worker.claim("huge", 90)
        guess = await worker.claim("perhaps", 90, is_measured=False)
        assert guess.need.host_bytes == 80 * MEBIBYTE

    run(refuse)


def test_a_guess_that_exceeds_what_is_free_is_tried_with_that_if_the_least_of_it_fits() -> None:
    async def guess(worker: Worker) -> None:
        await worker.has("fixed", 40, can_sleep=False)
        assert (await worker.guess("large", 80, least_mb=45)).need.host_bytes == 60 * MEBIBYTE
        assert worker.reasons == []
        assert worker.budget.used_bytes == 100 * MEBIBYTE

    run(guess)


def test_a_guess_above_the_budget_is_tried_beside_others() -> None:
    async def guess(worker: Worker) -> None:
        await worker.has("fixed", 5, can_sleep=False)
        assert (await worker.guess("large", 120, least_mb=70)).need.host_bytes == 95 * MEBIBYTE

    run(guess)


def test_only_one_of_several_guesses_is_tried_with_what_is_free() -> None:
    async def guess(worker: Worker) -> None:
        await worker.has("fixed", 40, can_sleep=False)
        first = await worker.guess("first", 80, least_mb=20)
        second = asyncio.create_task(worker.guess("second", 80, least_mb=20))
        await until(lambda: bool(worker.reasons))
        first.pid, first.need, first.is_loading = 1, Need(25 * MEBIBYTE, is_measured=True), False
        worker.budget.serve_waiters()
        assert (await second).need.host_bytes == 35 * MEBIBYTE

    run(guess)


def test_a_guess_waits_until_the_least_of_it_is_free_and_idle_hosts_end_for_that() -> None:
    async def guess(worker: Worker) -> None:
        busy = await worker.has("busy", 60, can_sleep=False)
        idle = await worker.has("idle", 30)
        large = asyncio.create_task(worker.guess("large", 120, least_mb=50))
        await until(lambda: bool(worker.reasons))
        assert worker.reasons == ["waits for memory: needs 50 MiB, 90 of 100 MiB in use"]
        assert worker.slept == []
        busy.need = Need(45 * MEBIBYTE, is_measured=True)
        worker.budget.serve_waiters()
        assert worker.slept == ["idle"]
        worker.budget.release(idle)
        assert (await large).need.host_bytes == 55 * MEBIBYTE

    run(guess)


def test_shared_pages_count_once_and_what_a_host_will_need_is_kept_for_it() -> None:
    async def measure(worker: Worker) -> None:
        first, second = await worker.has("a", 10), await worker.has("b", 30)
        first.pid, second.pid = 1, 2
        worker.budget.measured({1: usage(15, 12), 2: usage(15, 10)}, shared_bytes=20 * MEBIBYTE)
        assert worker.budget.used_bytes == (20 + 12 + 30) * MEBIBYTE
        worker.budget.release(second)
        assert worker.budget.used_bytes == (20 + 12) * MEBIBYTE
        worker.budget.measured({1: usage(40, 20)})
        assert worker.budget.used_bytes == (20 + 20) * MEBIBYTE

    run(measure)


def test_hosts_that_grow_under_batches_end_idle_ones() -> None:
    async def grow(worker: Worker) -> None:
        busy, _ = await worker.has("busy", 40, can_sleep=False), await worker.has("idle", 50)
        busy.pid = 1
        worker.budget.measured({1: usage(60, 60)})
        assert worker.budget.over_bytes == 10 * MEBIBYTE
        worker.budget.relieve()
        assert worker.slept == ["idle"]
        assert worker.budget.over_bytes == 0
        assert busy.need == Need(60 * MEBIBYTE, is_measured=True)

    run(grow)


def test_what_a_batch_took_is_kept_for_the_next_unless_there_is_never_so_much() -> None:
    async def grow(worker: Worker) -> None:
        serving = await worker.has("serving", 40, can_sleep=False)
        serving.pid, serving.is_loading = 1, False
        for peak_mb, then_mb in ((70, 70), (120, 70)):
            worker.budget.measured({1: usage(peak_mb, peak_mb)})
            assert worker.budget.used_bytes == peak_mb * MEBIBYTE
            worker.budget.measured({1: usage(40, 40)})
            assert worker.budget.used_bytes == then_mb * MEBIBYTE

    run(grow)


def test_a_load_that_takes_more_than_was_guessed_ends_and_no_host_that_serves() -> None:
    async def refuse(worker: Worker) -> None:
        serving, loading = await worker.has("a", 60, can_sleep=False), await worker.claim("b", 20, is_measured=False)
        serving.pid, loading.pid = 1, 2
        killed: list[str] = []
        loading.kill = killed.append
        worker.budget.measured({1: usage(60, 60), 2: usage(50, 50)})
        worker.budget.relieve()
        worker.budget.relieve()
        assert killed == ["the worker's memory is used up: 110 of 100 MiB."]
        assert loading.is_refused

    run(refuse)


def test_without_a_limit_all_is_granted() -> None:
    async def grant() -> None:
        budget = MemoryBudget()
        for _ in range(3):
            await budget.claim(Claim("a", "a", Need(1 << 50, is_measured=True)), lambda _: None)
        assert budget.over_bytes == 0
        assert budget.has_room(Need(1 << 50))

    asyncio.run(grant())


def test_a_margin_stays_free_for_errors_of_measurements() -> None:
    async def keep(worker: Worker) -> None:
        worker.budget.margin_bytes = 4 * MEBIBYTE
        await worker.has("a", 50, can_sleep=False)
        await worker.claim("b", 46)
        assert not worker.budget.has_room(Need(MEBIBYTE))
        with pytest.raises(HostStartFailed, match="needs 97 MiB of memory, and this worker has 96 MiB for hosts"):
            await worker.claim("c", 97)

    run(keep)


def meter(worker: Worker, after_measure: Callable[[int], None] = lambda _pid: None) -> MemoryMeter:
    """A meter of hosts that have 10 MiB alone and 5 MiB of shared pages each, beside a forkserver with 20 MiB."""

    def measure(pid: int) -> MemoryUsage:
        after_measure(pid)
        return usage(15, 10) if pid < 100 else usage(20, 0)

    versions: Any = SimpleNamespace(measured=AsyncMock())
    return MemoryMeter(worker.budget, versions, measure, measure, lambda: [100])


def test_what_hosts_share_is_measured_only_while_none_comes_or_goes() -> None:
    async def look(worker: Worker) -> None:
        first, second = await worker.has("a", 10), await worker.has("b", 10)
        first.pid, second.pid = 1, 2
        await meter(worker).look()
        assert worker.budget.used_bytes == (20 + 5 + 5 + 10 + 10) * MEBIBYTE
        gone = {2: second}
        await meter(worker, lambda pid: worker.budget.release(gone.pop(pid)) if pid in gone else None).look()
        assert worker.budget.used_bytes == (20 + 5 + 5 + 10) * MEBIBYTE
        await meter(worker).look()
        assert worker.budget.used_bytes == (20 + 5 + 10) * MEBIBYTE

    run(look)


def test_a_host_without_page_faults_is_measured_again_only_with_all_others() -> None:
    async def look(worker: Worker) -> None:
        first, second = await worker.has("a", 10), await worker.has("b", 10)
        first.pid, second.pid = 1, 2
        faults, measured = {1: 1_000, 2: 1_000}, list[int]()

        def measure(pid: int) -> MemoryUsage:
            measured.append(pid)
            return usage(15, 10) if pid < 100 else usage(20, 0)

        versions: Any = SimpleNamespace(measured=AsyncMock())
        meter = MemoryMeter(worker.budget, versions, measure, measure, lambda: [100], faults.__getitem__)
        await meter.look()
        assert sorted(measured) == [1, 2, 100]
        del measured[:]
        faults[1] += 10  # a few pages
        await meter.look()
        assert not measured
        faults[2] += 1_000
        await meter.look()
        assert measured == [2]
        assert worker.budget.used_bytes == (20 + 5 + 5 + 10 + 10) * MEBIBYTE
        del measured[:]
        await meter.look()
        assert not measured
        third = await worker.has("c", 10)
        third.pid = faults[3] = 3
        meter._again_at = 0.0
        await meter.look()
        assert sorted(measured) == [1, 2, 3, 100]  # what they share has changed
        meter._complete_at = 0.0
        await meter.look()
        assert sorted(measured) == [1, 1, 2, 2, 3, 3, 100, 100]

    run(look)


def test_what_many_hosts_share_is_known_also_while_one_of_them_goes() -> None:
    async def look(worker: Worker) -> None:
        claims = [await worker.has(f"e{number}", 1) for number in range(40)]
        for number, each in enumerate(claims):
            each.pid = number + 1
        await meter(worker).look()
        gone = {7: claims[6]}
        await meter(worker, lambda pid: worker.budget.release(gone.pop(pid)) if pid in gone else None).look()
        assert worker.budget.shared_bytes == (20 + 40 * 5) * MEBIBYTE

    run(look)
