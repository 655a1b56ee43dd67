"""Submits over HTTP while no worker runs: single ones from 16 and 64 clients, and many jobs in one request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

from bench.figures.measurement import Measurement
from bench.load_client import Client, Load, closed_loop
from bench.models import FOREST, QUADRATIC
from bench.scale import Scale
from bench.systems.base import QueueSystem, System, Unsupported
from bench.systems.queuecast import Queuecast

_CLIENTS = (16, 64)
_NO_SUCH_ROUTE = (404, 405)


def submit(system: System, scale: Scale) -> Iterator[Measurement]:
    """Measure submits per second, and the API's processor time for each.

    What was submitted is dropped or drained afterwards, off the clock. A system without a queue answers it.
    """
    if system.name == "floor 64":
        return  # the floor's route, once more
    for model in (QUADRATIC, FOREST):
        for clients in _CLIENTS:
            with _paused(system):
                asyncio.run(_submits(system, model, clients, scale.warm_up_s))
                meter = system.meter()
                load = asyncio.run(_submits(system, model, clients, scale.seconds)).check()
                api_ms = meter.used_ms()["api"] / len(load.latencies_s)
            clear(system, model)
            yield Measurement(f"submit_{clients}", model, load.rate_per_s)
            yield Measurement(f"cpu_submit_{clients}", model, api_ms)


def bulk(system: System, scale: Scale) -> Iterator[Measurement]:
    """Measure jobs per second of bulk requests from one client."""
    if not isinstance(system, Queuecast):
        return
    for model in (QUADRATIC, FOREST):
        with system.paused():
            load = asyncio.run(_bulks(system, model, scale))
        clear(system, model)
        yield Measurement("bulk", model, load.rate_per_s * scale.bulk_jobs)


async def _submits(system: System, model: str, clients: int, seconds: float) -> Load:
    encoded = system.submit_request(model)
    return await closed_loop(system.port, encoded, clients=clients, seconds=seconds, status=system.submit_status)


async def _bulks(system: Queuecast, model: str, scale: Scale) -> Load:
    encoded, client = system.bulk_request(model, scale.bulk_jobs), Client(system.port)
    await client.connect()
    try:
        status, answer = await client.ask(encoded)
    finally:
        client.close()
    if status in _NO_SUCH_ROUTE:
        raise Unsupported(f"POST /predict/<endpoint>/bulk is answered {status}")
    if status != 202 or len(json.loads(answer)["job_ids"]) != scale.bulk_jobs:
        raise RuntimeError(f"HTTP {status}: {answer[:300]!r}")
    load = await closed_loop(system.port, encoded, clients=1, seconds=60, status=202, requests=scale.bulk_requests)
    return load.check()


def _paused(system: System) -> AbstractContextManager[None]:
    return system.paused() if isinstance(system, QueueSystem) else nullcontext()


def clear(system: System, model: str) -> None:
    """Have Queuecast finish its jobs, which it keeps books of; drop those of the others, who are too slow."""
    if not isinstance(system, QueueSystem):
        return
    if not isinstance(system, Queuecast):
        system.discard(model)
    system.wait_until_idle(model)
