"""What a long queue costs: latency of submits, and rate of the worker, with so many jobs waiting already."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from bench.figures.measurement import Measurement
from bench.load_client import Load, closed_loop
from bench.models import QUADRATIC
from bench.scale import Scale
from bench.systems.base import QueueSystem
from bench.systems.queuecast import Queuecast
from bench.systems.tutorial import Tutorial

#: A deployment that never refuses a job.
_DEEP = f"{QUADRATIC}-deep"
_MOST = 100_000_000
_LIMIT_S = 60.0
_LOOK_S = 0.005


def backlogs(folder: Path, pickles: Path, scale: Scale) -> Iterator[Measurement]:
    """Measure both while the queue grows; the worker stands still but for a second or two at each length."""
    with Queuecast(folder / "queuecast", [QUADRATIC]) as mine:
        mine.stack.deploy(QUADRATIC, endpoint_name=_DEEP, max_queue_length=_MOST)
        yield from _lengths(mine, _DEEP, scale)
    with Tutorial(folder / "tutorial", pickles, [QUADRATIC]) as other:
        yield from _lengths(other, QUADRATIC, scale)


def _lengths(system: QueueSystem, model: str, scale: Scale) -> Iterator[Measurement]:
    queue = system.queue(model)
    with system.redis() as client:
        for length in scale.backlogs:
            with system.paused():
                system.put_bare(client, model, max(0, length - client.llen(queue)))
                load = asyncio.run(_submits(system, model, scale.latency_jobs)).check()
                before, began = client.llen(queue), time.monotonic()
            left = _left(client, queue, began + scale.seconds)
            rate = (before - left) / (time.monotonic() - began)
            yield Measurement(f"backlog_latency_{length}", QUADRATIC, load.quantile_ms(50), system.name)
            yield Measurement(f"backlog_drain_{length}", QUADRATIC, rate, system.name)
    system.discard(model)


async def _submits(system: QueueSystem, model: str, jobs: int) -> Load:
    encoded = system.submit_request(model)
    return await closed_loop(system.port, encoded, clients=1, seconds=_LIMIT_S, status=202, requests=jobs)


def _left(client: redis.Redis, queue: str, until: float) -> int:
    """Return how many jobs are left at that time, or at once when there are none."""
    while (left := client.llen(queue)) and time.monotonic() < until:
        time.sleep(_LOOK_S)
    return left
