"""Reads of many callers at once: each gets its own, however many there are, and whatever fails."""

from __future__ import annotations

import asyncio

import pytest
import redis

from tests.workers.conftest import submit, submit_ids
from tests.workers.jobs.conftest import LoopDesk
from workers.errors import JobNotFound
from workers.jobs.accept import Limits
from workers.jobs.job import NO_OPTIONS
from workers.jobs.on_loop import scripts
from workers.jobs.on_loop.lookups import Found
from workers.jobs.query import JobState


def test_hundreds_of_look_ups_at_once_are_all_answered(store: redis.Redis, loop_desk: LoopDesk) -> None:
    job_id = submit().job_id

    async def all_of_them() -> list[Found]:
        return await asyncio.gather(*(loop_desk.desk.look_up([job_id, "ghost"]) for _ in range(400)))

    found = loop_desk.run(all_of_them())
    assert all(([job.job_id for job in each.jobs], each.unknown_job_ids) == ([job_id], ["ghost"]) for each in found)
    assert len(store.client_list()) < 60


def test_jobs_of_one_turn_are_read_together_and_each_caller_gets_its_own(
    store: redis.Redis, loop_desk: LoopDesk
) -> None:
    ids = submit_ids(300)
    before = int(store.info("stats")["total_commands_processed"])

    async def all_of_them() -> list[str | BaseException]:
        reads = [loop_desk.desk.reads.get(each) for each in [*ids, "ghost"]]
        found = await asyncio.gather(*reads, return_exceptions=True)
        return [each if isinstance(each, BaseException) else each.job_id for each in found]

    *found, ghost = loop_desk.run(all_of_them())
    assert found == ids
    assert isinstance(ghost, JobNotFound)
    # Two scripts, which look at each record twice; 300 commands of clients would be as many more.
    assert int(store.info("stats")["total_commands_processed"]) - before < 2 * len(ids) + 20


def test_an_error_that_nobody_expected_is_the_error_of_all_that_wait(
    store: redis.Redis, loop_desk: LoopDesk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **_more: object) -> list[object]:
        raise ZeroDivisionError

    monkeypatch.setattr(scripts, "run", broken)

    async def all_of_them() -> list[object]:
        submits = [loop_desk.desk.submit("adding", {"input": 1}, *_NOTHING) for _ in range(2)]
        return await asyncio.gather(loop_desk.desk.reads.get("some"), *submits, return_exceptions=True)

    assert [type(each) for each in loop_desk.run(all_of_them())] == [ZeroDivisionError] * 3
    assert "a group was not handed over" in caplog.text


_NOTHING = (Limits(), None, None, NO_OPTIONS)


def test_look_ups_wait_only_for_as_many_jobs_as_there_is_room_for(
    store: redis.Redis, loop_desk: LoopDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.jobs.on_loop import waits

    monkeypatch.setattr(waits, "MOST_AWAITED", 2)
    ids = submit_ids(3)
    found = loop_desk.run(asyncio.wait_for(loop_desk.desk.look_up(ids, 60), 10))
    assert [job.state for job in found.jobs] == [JobState.QUEUED] * 3
