"""Jobs that their clients wait for: the rate of 64 clients, latency of one and at 50 jobs a second, CPU of a job."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from bench.figures.measurement import Measurement
from bench.load_client import Load, closed_loop, open_loop
from bench.models import FOREST, QUADRATIC
from bench.resources import CpuMeter
from bench.scale import Scale
from bench.systems.base import System

_CLIENTS = 64
_RATE_PER_S = 50
_PERCENTS = (50, 95, 99)
_LIMIT_S = 60.0


def closed(system: System, scale: Scale) -> Iterator[Measurement]:
    """Measure jobs per second and processor time for each job while 64 clients wait for theirs."""
    for model in (QUADRATIC, FOREST):
        asyncio.run(_closed(system, model, scale.warm_up_s))
        meter = system.meter()
        load = asyncio.run(_closed(system, model, scale.seconds)).check()
        yield Measurement("closed", model, load.rate_per_s)
        yield from _cpu("cpu_busy", model, meter, load)


def latency(system: System, scale: Scale) -> Iterator[Measurement]:
    """Measure the latency of one client that sends one job after the other."""
    for model in (QUADRATIC, FOREST):
        asyncio.run(_counted(system, model, max(5, scale.latency_jobs // 10)))
        load = asyncio.run(_counted(system, model, scale.latency_jobs)).check()
        yield from (Measurement(f"latency_p{each}", model, load.quantile_ms(each)) for each in _PERCENTS)


def steady(system: System, scale: Scale) -> Iterator[Measurement]:
    """Measure the latency, and the processor time of each job, at 50 jobs a second, whatever the answers do."""
    for model in (QUADRATIC, FOREST):
        meter = system.meter()
        load = asyncio.run(steadily(system, model, _RATE_PER_S, scale.seconds)).check()
        yield from (Measurement(f"steady_p{each}", model, load.quantile_ms(each)) for each in _PERCENTS)
        yield from _cpu("cpu_steady", model, meter, load)


async def steadily(system: System, model: str, rate_per_s: float, seconds: float) -> Load:
    """Submit at a steady rate, and wait for every answer."""
    encoded = system.wait_request(model)
    return await open_loop(system.port, encoded, rate_per_s=rate_per_s, seconds=seconds, status=200)


async def _closed(system: System, model: str, seconds: float) -> Load:
    encoded = system.wait_request(model)
    return await closed_loop(system.port, encoded, clients=_CLIENTS, seconds=seconds, status=200)


async def _counted(system: System, model: str, jobs: int) -> Load:
    encoded = system.wait_request(model)
    return await closed_loop(system.port, encoded, clients=1, seconds=_LIMIT_S, status=200, requests=jobs)


def _cpu(metric: str, model: str, meter: CpuMeter, load: Load) -> Iterator[Measurement]:
    """Yield milliseconds of each job: of all processes together, and by role."""
    jobs = len(load.latencies_s)  # also those that were answered after the stretch: they were paid for
    used_ms = meter.used_ms()
    yield Measurement(metric, model, sum(used_ms.values()) / jobs)
    for role in dict.fromkeys(name.split()[0] for name in used_ms):
        ms = sum(value for name, value in used_ms.items() if name.split()[0] == role)
        yield Measurement(f"{metric}_{role}", model, ms / jobs)
