"""Moves delayed jobs into their queues when they are due: each worker does so for its own endpoints, without delay.

The sweeper does the same for all endpoints, also for those that no worker serves. A released job goes to the end of its
queue, as if it were submitted then. If queues and records are in one Redis, one step moves the job. If another broker
has the queues, the message is sent before the job leaves the set. If the worker is lost in between, the message is sent
again, unless the job has begun by then; the job has one outcome in any case.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from redis import RedisError, ResponseError
from redis.asyncio import Redis

from workers import keys
from workers.engine.intake.protocol import Source
from workers.platform.lua import Lua, script
from workers.platform.redis.client import refuses_for_good
from workers.queues.naming import queue_names

_log = logging.getLogger(__name__)


_RELEASE = Lua("workers.jobs", "release")
_TAKE_DUE = Lua("workers.jobs", "take_due")
_SENT = Lua("workers.jobs", "mark_released")
_NEXT_DUE = Lua("workers.engine.upkeep", "next_due")

#: Longest pause between two checks. A job that is delayed for less may be released that much late, others on time.
_CHECK_S = 0.5
_RELEASED_AT_ONCE = 200
#: Sending a part takes less.
_TAKEN_FOR_S = 10.0
_TAKEN_AT_ONCE_BYTES = 2 * 1024 * 1024


class Release:
    """Moves due jobs into the queues of `source`; `beside_records`: these are in the same Redis as the records."""

    def __init__(self, records: Redis, source: Source, *, beside_records: bool) -> None:
        self._records = records
        self._source = source
        self._beside = beside_records

    async def due(self, endpoint_name: str, *, all_of_them: bool = False) -> None:
        """Release the due jobs of an endpoint, or with `all_of_them` all delayed jobs.

        Raises:
            RedisError, OSError: Redis, or the broker, can't be reached, or refuses a job for good.
        """
        until_s = "+inf" if all_of_them else ""
        step = self._move if self._beside else self._send
        while await step(endpoint_name, until_s):
            pass

    async def waiting(self, endpoint_names: Sequence[str]) -> dict[str, int]:
        """Return how many delayed jobs each endpoint has."""
        async with self._records.pipeline(transaction=False) as pipeline:
            for name in endpoint_names:
                pipeline.zcard(keys.delayed(name))
            counts = await pipeline.execute(raise_on_error=False)
        return {name: each if isinstance(each, int) else 0 for name, each in zip(endpoint_names, counts, strict=True)}

    async def next_due_in_s(self, endpoint_names: Sequence[str]) -> dict[str, float]:
        """Return in how many seconds, by Redis's clock, the next job is due, for each endpoint with delayed jobs."""
        found = await script(self._records, _NEXT_DUE)([keys.delayed(name) for name in endpoint_names], [])
        by_number = zip(found[::2], found[1::2], strict=True)
        return {endpoint_names[number - 1]: float(due_in_s) for number, due_in_s in by_number}

    async def _move(self, endpoint_name: str, until_s: str) -> bool:
        """Move some jobs into queues in the same Redis; return whether there may be more."""
        names = [*_keys(endpoint_name), keys.prioritized(endpoint_name), *queue_names(endpoint_name)]
        values: list[str | int] = [until_s, _RELEASED_AT_ONCE, keys.record(""), keys.message("")]
        more, refused = await script(self._records, _RELEASE)(names, values)
        if refused:
            raise ResponseError(refused.decode(errors="replace"))
        return bool(more)

    async def _send(self, endpoint_name: str, until_s: str) -> bool:
        """Send the messages of some jobs to queues in another broker; return whether there may be more."""
        taking = _TAKEN_FOR_S, _TAKEN_AT_ONCE_BYTES
        values: list[str | float] = [until_s, _RELEASED_AT_ONCE, keys.record(""), keys.message(""), *taking]
        more, *taken = await script(self._records, _TAKE_DUE)(_keys(endpoint_name), values)
        for job_id, message in zip(taken[::2], taken[1::2], strict=True):
            await self._source.send(endpoint_name, message)
            await script(self._records, _SENT)(_keys(endpoint_name), [job_id])
        return bool(more)


class Releasing(Protocol):
    """An endpoint whose delayed jobs are released."""

    @property
    def takes_early(self) -> bool:
        """Whether it takes delayed jobs before they are due."""


class Releaser:
    """Releases the jobs of one worker's endpoints; calls `trouble` when this fails for one, or works again."""

    def __init__(
        self,
        release: Release,
        endpoints: Mapping[str, Releasing],
        trouble: Callable[[str, str, str | None], None],
    ) -> None:
        self._release = release
        self._endpoints = endpoints
        self._trouble = trouble

    async def run(self) -> None:
        """Release jobs as they become due, until cancelled."""
        while True:
            try:
                due_in_s = await self._release_due()
            except (RedisError, OSError) as error:
                _log.warning("releasing due jobs failed (%s); retrying", error)
                due_in_s = _CHECK_S
            await asyncio.sleep(due_in_s)

    async def _release_due(self) -> float:
        """Release the due jobs; return after how many seconds to check again."""
        endpoints = dict(self._endpoints)
        due_in_s = await self._release.next_due_in_s(list(endpoints)) if endpoints else {}
        check_in_s = _CHECK_S
        for name, seconds in due_in_s.items():
            if endpoints[name].takes_early or seconds <= 0:
                await self._release_of(name, all_of_them=endpoints[name].takes_early)
            else:
                check_in_s = min(check_in_s, seconds)
        return check_in_s

    async def _release_of(self, name: str, *, all_of_them: bool) -> None:
        why = None
        try:
            await self._release.due(name, all_of_them=all_of_them)
        except RedisError as error:
            if not refuses_for_good(error):
                raise
            why = str(error)
        self._trouble(name, "release due jobs", why)


def _keys(endpoint_name: str) -> list[str]:
    return [keys.delayed(endpoint_name), keys.unfinished(endpoint_name)]
