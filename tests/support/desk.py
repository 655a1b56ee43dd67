"""The event loop of this process on which jobs are submitted and awaited, for tests that look inside."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from api.process.job_loop import default_job_loop
from workers.jobs.on_loop.desk import Desk
from workers.jobs.on_loop.following import Follower
from workers.jobs.on_loop.waits import Watch

_Result = TypeVar("_Result")


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine on the loop, and return its result."""
    return default_job_loop().run(work)


def desk() -> Desk:
    """Return what the loop does with jobs."""

    async def begun() -> Desk:
        return default_job_loop().desk

    return run(begun())


def watches(job_id: str | None = None) -> list[Watch]:
    """Return who waits, for one job or for any."""

    async def found() -> list[Watch]:
        of_jobs = default_job_loop().desk.waits._watches
        return [watch for each, some in of_jobs.items() if job_id in (None, each) for watch in some]

    return run(found())


def followers(job_id: str | None = None) -> list[Follower]:
    """Return who follows, one job or any."""

    async def found() -> list[Follower]:
        of_jobs = default_job_loop().desk.following._followers
        return [follower for each, some in of_jobs.items() if job_id in (None, each) for follower in some]

    return run(found())


@contextmanager
def following(job_id: str) -> Iterator[Follower]:
    """Follow a job for as long as the block lasts."""
    context = desk().following.following(job_id)

    async def begin() -> Follower:
        return await context.__aenter__()

    async def end() -> None:
        await context.__aexit__(None, None, None)

    follower = run(begin())
    try:
        yield follower
    finally:
        run(end())
