"""Writes the report of one worker: at every change, and at an interval.

With a thousand deployments most are asleep. The report on one that rests is made once, and kept as JSON. A whole report
is made in steps: jobs don't wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Raw
from redis import RedisError

from workers.engine.context import Context
from workers.engine.serving.endpoint import Endpoint
from workers.measures import reports
from workers.measures.reports import WorkerReport
from workers.platform import fast_json
from workers.platform.loops.steps import in_steps

_log = logging.getLogger(__name__)

#: Changes within this time are reported together.
_DELAY_S = 0.02
#: Reports take at most one part in so many of the event loop's time, unless a change would wait longer than the
#: interval below: most of the time of one that takes long is spent waiting, for Redis or a busy machine.
_MOST_SHARE = 20
#: Interval of reports while there are jobs: the depth of a queue includes the jobs that wait here.
_BUSY_INTERVAL_S = 1.0
#: How often it is written again which endpoints are served, in case Redis has lost it.
_SERVED_AGAIN_S = 15.0


class Reporter:
    """Reports until cancelled; belongs to the event loop of the endpoints.

    Args:
        document: returns the report without its endpoints.
    """

    def __init__(
        self, context: Context, endpoints: Mapping[str, Endpoint], document: Callable[[], WorkerReport]
    ) -> None:
        self._context = context
        self._endpoints = endpoints
        self._document = document
        #: The reports on endpoints that rest, each with what it depends on.
        self._resting: dict[str, tuple[object, Raw]] = {}
        #: The revisions that Redis has of served endpoints, and since when all of them are there.
        self._served: dict[str, int] = {}
        self._served_at = -math.inf

    async def run(self) -> None:
        """Write reports, again and again."""
        while True:
            self._context.changed.clear()
            began, is_busy = time.monotonic(), True
            try:
                is_busy = await self.write()
            except (RedisError, OSError) as error:
                self._served_at = -math.inf
                _log.warning("writing the report failed: %s", error)
            took_s = time.monotonic() - began
            try:
                async with asyncio.timeout(_BUSY_INTERVAL_S if is_busy else reports.REPORT_INTERVAL_S):
                    await self._context.changed.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(min(max(_DELAY_S, took_s * _MOST_SHARE), _BUSY_INTERVAL_S))

    async def write(self) -> bool:
        """Write one report; return whether there are jobs. Raises RedisError, OSError."""
        found, is_busy = dict[str, Raw](), False
        async for name, endpoint in in_steps(list(self._endpoints.items())):
            found[name], has_jobs = self._fragment(endpoint)
            is_busy = is_busy or has_jobs
        self._resting = {name: each for name, each in self._resting.items() if name in found}
        served = await self._newly_served()
        report: Any = {**self._document(), "endpoints": found}
        if gone := await reports.write(self._context.records, report, served):
            await self._context.intake.forget_workers(gone)
        self._served |= served
        return is_busy

    def _fragment(self, endpoint: Endpoint) -> tuple[Raw, bool]:
        """Return the report on an endpoint as JSON, and whether it has jobs."""
        rests_as, name = endpoint.rests_as, endpoint.name
        known = self._resting.get(name)
        if rests_as is not None and known is not None and known[0] == rests_as:
            return known[1], False
        report = endpoint.report()
        text = Raw(fast_json.dumps_plain(report))
        if rests_as is not None:
            self._resting[name] = rests_as, text
        return text, bool(report["waiting"] or report["running"])

    async def _newly_served(self) -> dict[str, int]:
        """Return the revisions of endpoints that are proved to load, if Redis hasn't got them from here."""
        if (now := time.monotonic()) - self._served_at > _SERVED_AGAIN_S:
            self._served, self._served_at = {}, now
        found: dict[str, int] = {}
        async for name, endpoint in in_steps(list(self._endpoints.items())):
            revision, is_replay = endpoint.desired.revision, endpoint.desired.is_replay
            if self._served.get(name) != revision and not is_replay and endpoint.is_proved:
                found[name] = revision
        return found
