"""Reads records and queue positions of jobs: those that are asked for together are read together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import redis
from msgspec.structs import replace

from workers import keys
from workers.errors import JobNotFound, JobUnreadable
from workers.jobs import query
from workers.jobs.on_loop import scripts
from workers.jobs.on_loop.fresh_paces import FreshPaces
from workers.jobs.on_loop.gathering import Gathering
from workers.jobs.query import JobState, JobView
from workers.measures import paces, positions
from workers.measures.positions import JobsAhead
from workers.platform.loops.blocking import beside
from workers.platform.redis.async_client import Client
from workers.platform.redis.client import translated_errors

_GROUPS_UNDER_WAY = 4
#: Reads that are not gathered, each on a connection of its own; further ones wait.
_DIRECT_AT_ONCE = 16
_RECORDS_AT_ONCE = 200
#: Records that are read at once; what is left of a group is read next.
_BYTES_AT_ONCE = 8_000_000


class _Record(NamedTuple):
    job_id: str
    answer: asyncio.Future[bytes | redis.RedisError | None]


class _Position(NamedTuple):
    endpoint_name: str
    job_id: str
    answer: asyncio.Future[JobsAhead | redis.RedisError | None]


class Reads:
    """Reads from Redis; its methods are called on one event loop."""

    def __init__(self, client: Client, fresh_paces: FreshPaces) -> None:
        self._client = client
        self._fresh_paces = fresh_paces
        self._direct = asyncio.Semaphore(_DIRECT_AT_ONCE)
        self._records = Gathering[_Record](
            self._read_records, most_items=_RECORDS_AT_ONCE, most_under_way=_GROUPS_UNDER_WAY
        )
        self._positions = Gathering[_Position](
            self._read_positions, most_items=_RECORDS_AT_ONCE, most_under_way=_GROUPS_UNDER_WAY
        )

    async def get(self, job_id: str, owner: str | None = None) -> JobView:
        """Return a job as it stands; with an `owner`, only one of theirs.

        Raises:
            JobNotFound: the id is unknown, or its record has expired, or it is somebody else's.
            JobUnreadable: another program has written its record.
            QueueUnavailable: Redis can't be reached.
        """
        with translated_errors():
            record = await self.record(job_id)
            job = None if record is None else await beside(len(record), query.shown, job_id, record)
            if job is None or not await self.is_of(owner, job):
                raise JobNotFound(job_id)
        if job.state is JobState.UNREADABLE:
            raise JobUnreadable(job_id)
        return job

    async def is_of(self, owner: str | None, job: JobView) -> bool:
        """Tell whether a job may be shown to an owner, as `query.is_of`. Raises redis.RedisError."""
        if owner is None or job.state is not JobState.UNREADABLE:
            return owner in (None, job.owner)
        async with self._direct:
            return await self._client.zscore(keys.jobs_of(owner), job.job_id) is not None

    async def record(self, job_id: str) -> bytes | None:
        """Return a record, None if there is none, an empty one for a key of another type. Raises redis.RedisError."""
        item = _Record(job_id, asyncio.get_running_loop().create_future())
        self._records.add(item)
        answer = await item.answer
        if isinstance(answer, redis.RedisError):
            raise answer
        return answer

    async def records(self, job_ids: Sequence[str]) -> list[bytes | None]:
        """Return these records, as `record`, without waiting for those that others ask for."""
        found: list[bytes | None] = []
        while len(found) < len(job_ids):
            found += await self.some(job_ids[len(found) : len(found) + _RECORDS_AT_ONCE], _BYTES_AT_ONCE)
        return found

    async def some(self, job_ids: Sequence[str], most_bytes: int) -> list[bytes | None]:
        """Return the first of these records: together at most so long, but at least one; None for each missing one.

        A key that holds something else is an empty record.

        Raises:
            redis.RedisError: Redis can't be reached.
        """
        names = [keys.record(each) for each in job_ids]
        async with self._direct:
            [answer] = await scripts.run(self._client, query.SOME, [(names, [most_bytes])])
        if isinstance(answer, redis.RedisError):
            raise answer
        found: list[bytes | None] = answer
        return found

    async def with_positions(self, found: Sequence[JobView]) -> list[JobView]:
        """Return jobs with the queue positions of those that are queued. Raises QueueUnavailable."""
        queued = [job for job in found if job.state is JobState.QUEUED and not job.is_delayed]
        if not queued:
            return list(found)
        for endpoint_name in {job.endpoint_name for job in queued}:
            await self._fresh_paces.read(endpoint_name)
        with translated_errors():
            ahead_of = await self._ahead(queued)
        return [_with_position(job, ahead_of.get(job.job_id)) for job in found]

    async def _ahead(self, queued: Sequence[JobView]) -> dict[str, JobsAhead | None]:
        loop = asyncio.get_running_loop()
        items = [_Position(job.endpoint_name, job.job_id, loop.create_future()) for job in queued]
        for item in items:
            self._positions.add(item)
        ahead: dict[str, JobsAhead | None] = {}
        # Futures, not tasks: thousands of jobs are placed at once.
        for item, answer in zip(items, await asyncio.gather(*(each.answer for each in items)), strict=True):
            if isinstance(answer, redis.RedisError):
                raise answer
            ahead[item.job_id] = answer
        return ahead

    async def _read_records(self, items: list[_Record]) -> None:
        while items:
            found: Sequence[bytes | redis.RedisError | None]
            try:
                found = await self.some([each.job_id for each in items], _BYTES_AT_ONCE)
            except redis.RedisError as error:
                found = [error] * len(items)
            for each, record in zip(items, found, strict=False):
                if not each.answer.done():
                    each.answer.set_result(record)
            items = items[len(found) :]

    async def _read_positions(self, items: list[_Position]) -> None:
        by_endpoint: dict[str, list[_Position]] = {}
        for each in items:
            by_endpoint.setdefault(each.endpoint_name, []).append(each)
        calls = [
            positions.script_arguments(name, [each.job_id for each in of_it]) for name, of_it in by_endpoint.items()
        ]
        answers = await scripts.run(self._client, positions.READ, calls)
        for of_it, answer in zip(by_endpoint.values(), answers, strict=True):
            is_error = isinstance(answer, redis.RedisError)
            ahead = {} if is_error else positions.parse([each.job_id for each in of_it], answer)
            for each in of_it:
                if not each.answer.done():
                    each.answer.set_result(answer if is_error else ahead.get(each.job_id))


def _with_position(job: JobView, ahead: JobsAhead | None) -> JobView:
    return job if ahead is None else replace(job, queue_position=paces.queue_position(job.endpoint_name, ahead))
