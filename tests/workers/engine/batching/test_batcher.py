"""Batches: size, delay, and jobs that run alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st

from registry.serving.settings import ServingSettings
from tests.support.waiting import until, until_done
from tests.workers.stand_ins import queued_job
from workers.engine.batching.batch_size import BatchSize
from workers.engine.batching.batcher import Batcher
from workers.engine.intake.messages import QueuedJob

#: Longer than any test runs: what ends before it did not wait for it.
LONG_MS = 10_000.0
SOON_S = 5.0


def batcher(max_batch_size: int = 4, max_batch_delay_ms: float = LONG_MS) -> Batcher:
    return Batcher(ServingSettings(max_batch_size=max_batch_size, max_batch_delay_ms=max_batch_delay_ms))


def ids(jobs: list[QueuedJob]) -> list[str]:
    return [job.job_id for job in jobs]


def run(what: Callable[[Batcher], Awaitable[None]], **settings: float) -> None:
    """Run a test with a batcher on an event loop."""

    async def awaited() -> None:
        async with asyncio.timeout(SOON_S):
            await what(batcher(**settings))  # type: ignore[arg-type]

    asyncio.run(awaited())


def singles(count: int, start: int = 0) -> list[QueuedJob]:
    return [queued_job(f"{number}") for number in range(start, start + count)]


def test_a_batch_has_as_many_rows_as_allowed_in_the_order_of_arrival() -> None:
    gathered = batcher(max_batch_size=4)
    gathered.put(singles(6))
    assert ids(gathered.take()) == ["0", "1", "2", "3"]
    assert ids(gathered.take()) == ["4", "5"]
    assert gathered.take() == []


def test_rows_count_and_not_jobs() -> None:
    gathered = batcher(max_batch_size=4)
    gathered.put([queued_job("a", 2), queued_job("b", 1), queued_job("c", 2), queued_job("d", 1)])
    assert ids(gathered.take()) == ["a", "b"]
    assert ids(gathered.take()) == ["c", "d"]


def test_a_job_with_more_rows_than_a_batch_is_a_batch() -> None:
    gathered = batcher(max_batch_size=4)
    gathered.put([queued_job("small"), queued_job("huge", 9), queued_job("next")])
    assert [ids(gathered.take()) for _ in range(3)] == [["small"], ["huge"], ["next"]]


def test_jobs_that_run_alone_come_first_and_one_by_one() -> None:
    gathered = batcher()
    gathered.put([queued_job("a"), queued_job("x", alone=True), queued_job("b"), queued_job("y", alone=True)])
    assert ids(gathered.jobs) == ["x", "y", "a", "b"]
    assert [ids(gathered.take()) for _ in range(3)] == [["x"], ["y"], ["a", "b"]]


def test_all_can_be_taken_back() -> None:
    gathered = batcher()
    gathered.put([*singles(3), queued_job("x", alone=True)])
    assert len(gathered) == 4
    assert sorted(ids(gathered.take_all())) == ["0", "1", "2", "x"]
    assert len(gathered) == 0
    assert gathered.take() == []


@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=30), st.integers(1, 8))
def test_every_job_is_in_one_batch_and_no_batch_is_too_large(kinds: list[tuple[int, bool]], size: int) -> None:
    jobs = [queued_job(f"{number}", rows, alone=alone) for number, (rows, alone) in enumerate(kinds)]
    gathered = batcher(max_batch_size=size)
    gathered.put(jobs)
    batches = []
    while batch := gathered.take():
        batches.append(batch)
    taken = [job for batch in batches for job in batch]
    assert sorted(ids(taken)) == sorted(ids(jobs))
    assert ids([job for job in taken if not job.alone]) == ids([job for job in jobs if not job.alone])
    for batch in batches:
        assert len(batch) == 1 or sum(len(job.rows) for job in batch) <= size
        assert len(batch) == 1 or not any(job.alone for job in batch)
    assert gathered._rows == 0


def test_an_idle_host_gets_the_first_job_at_once() -> None:
    async def idle(gathered: Batcher) -> None:
        gathered.put(singles(1))
        await gathered.ready()
        assert ids(gathered.take()) == ["0"]

    run(idle)


def test_a_host_that_has_waited_longer_than_the_delay_waits_no_more() -> None:
    async def late(gathered: Batcher) -> None:
        gathered.put(singles(4))
        gathered.take()
        waits = asyncio.create_task(gathered.ready())
        await asyncio.sleep(0.1)
        gathered.settings = ServingSettings(max_batch_size=4, max_batch_delay_ms=LONG_MS)
        gathered.put(singles(1))
        await waits

    run(late, max_batch_delay_ms=50)


def test_after_a_batch_its_callers_are_waited_for_until_they_are_back() -> None:
    async def come_back(gathered: Batcher) -> None:
        gathered.put(singles(3))
        gathered.take()
        waits = asyncio.create_task(gathered.ready())
        for number in range(2):
            gathered.put(singles(1, number))
            await asyncio.sleep(0.01)
            assert not waits.done()
        gathered.put(singles(1, 2))
        await waits
        assert len(gathered.take()) == 3

    run(come_back)


def test_the_delay_is_a_bound() -> None:
    async def bound(gathered: Batcher) -> None:
        gathered.put(singles(3))
        gathered.take()
        gathered.put(singles(1))
        await gathered.ready()
        assert len(gathered.take()) == 1

    run(bound, max_batch_delay_ms=20)


def test_without_a_delay_nothing_is_waited_for() -> None:
    async def no_delay(gathered: Batcher) -> None:
        gathered.put(singles(3))
        gathered.take()
        gathered.put(singles(1))
        waits = asyncio.create_task(gathered.ready())
        await asyncio.sleep(0)
        assert waits.done()

    run(no_delay, max_batch_delay_ms=0)


def test_a_job_that_runs_alone_ends_the_gathering() -> None:
    async def alone(gathered: Batcher) -> None:
        gathered.put(singles(3))
        gathered.take()
        gathered.put(singles(1))
        waits = asyncio.create_task(gathered.ready())
        await asyncio.sleep(0.01)
        assert not waits.done()
        gathered.put([queued_job("x", alone=True)])
        await waits
        assert ids(gathered.take()) == ["x"]

    run(alone)


def test_of_two_hosts_one_gets_the_job_and_the_other_an_empty_batch() -> None:
    async def two(gathered: Batcher) -> None:
        hosts = [asyncio.create_task(gathered.ready()) for _ in range(2)]
        await asyncio.sleep(0.01)
        gathered.put(singles(1))
        await asyncio.gather(*hosts)
        assert sorted(len(gathered.take()) for _ in hosts) == [0, 1]

    run(two, max_batch_delay_ms=0)


def test_settings_that_change_count_from_the_next_batch_on() -> None:
    gathered = batcher(max_batch_size=2)
    gathered.put(singles(6))
    assert len(gathered.take()) == 2
    gathered.size = BatchSize(ServingSettings(max_batch_size=3))
    assert len(gathered.take()) == 3


def test_what_was_taken_back_is_not_counted_among_those_that_gather() -> None:
    async def emptied(gathered: Batcher) -> None:
        gathered.put(singles(3))
        gathered.take()
        gathered.put(singles(2))
        gathered.take_all()
        waits = asyncio.create_task(gathered.ready())
        gathered.put(singles(1))
        await asyncio.sleep(0.01)
        assert not waits.done()
        gathered.put(singles(2, 1))
        await waits

    run(emptied)


async def test_a_host_that_waits_serves_a_single_job_at_once_unless_more_are_about_to_come() -> None:
    waiting = batcher()
    assert not waiting.serves_at_once, "no host waits"
    ready = asyncio.create_task(waiting.ready())
    await until(lambda: waiting.serves_at_once)
    waiting.put([queued_job("a"), queued_job("b")])
    assert not waiting.serves_at_once, "others go first"
    await until_done(ready)
    waiting.take()
    ready = asyncio.create_task(waiting.ready())
    await asyncio.sleep(0)
    assert not waiting.serves_at_once, "the clients of the last batch are about to send again"
    waiting.settings = ServingSettings(max_batch_delay_ms=0)
    await until(lambda: waiting.serves_at_once)
    ready.cancel()
    await asyncio.wait([ready])
    assert not waiting.serves_at_once
