"""Rows per second of jobs with one row, 64 and 1,024 rows, sent one after the other by four clients that wait."""

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


def rows(system: System, scale: Scale) -> Iterator[Measurement]:
    """Measure rows per second."""
    for model in (QUADRATIC, FOREST):
        for count in _ROWS:
            load = asyncio.run(_load(system, model, count, scale.seconds)).check()
            yield Measurement(f"rows_{count}", model, load.rate_per_s * count)


async def _load(system: System, model: str, count: int, seconds: float) -> Load:
    encoded = system.wait_request(model, count)
    return await closed_loop(system.port, encoded, clients=_CLIENTS, seconds=seconds, status=200)
