"""Jobs with one row, 64 and 1,024 rows: rows per second of four clients that wait, and the time of one large job."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from bench.figures.measurement import Measurement
from bench.load_client import Load, closed_loop
from bench.models import FOREST, QUADRATIC
from bench.scale import Scale
from bench.systems.base import System

_ROWS = (1, 64, 1_024)
_CLIENTS = 4
_LARGE = 1_024
_LIMIT_S = 60.0


def rows(system: System, scale: Scale) -> Iterator[Measurement]:
    """Measure rows per second; then, with one client, the time of a job of 1,024 rows."""
    for model in (QUADRATIC, FOREST):
        for count in _ROWS:
            load = asyncio.run(_load(system, model, count, scale.seconds / 2)).check()
            yield Measurement(f"rows_{count}", model, load.rate_per_s * count)
        load = asyncio.run(_one_by_one(system, model, max(5, scale.latency_jobs // 10))).check()
        yield Measurement("job_1024", model, load.quantile_ms(50))


async def _one_by_one(system: System, model: str, jobs: int) -> Load:
    encoded = system.wait_request(model, _LARGE)
    return await closed_loop(system.port, encoded, clients=1, seconds=_LIMIT_S, status=200, requests=jobs)


async def _load(system: System, model: str, count: int, seconds: float) -> Load:
    encoded = system.wait_request(model, count)
    return await closed_loop(system.port, encoded, clients=_CLIENTS, seconds=seconds, status=200)
