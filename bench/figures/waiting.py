"""Jobs whose clients want the answer: the rate of 64 clients, latency of one and at 50 jobs a second, CPU of a job.

Clients wait in the request; those of `polled` submit and look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from bench.figures.measurement import Measurement
from bench.load_client import Doing, Load, closed_loop, open_loop
from bench.models import FOREST, QUADRATIC
from bench.resources import CpuMeter
from bench.scale import Scale
from bench.systems.base import QueueSystem, System

_CLIENTS = 64
_RATE_PER_S = 50
_PERCENTS = (50, 95, 99)
_LIMIT_S = 60.0


def closed(system: System, scale: Scale) -> Iterator[Measurement]:
    """Measure jobs per second and processor time for each job while 64 clients wait for theirs."""
    for model in (QUADRATIC, FOREST):
        load, cpu_ms = _closed(system, system.wait_request(model), scale)
        yield Measurement("closed", model, load.rate_per_s)
        yield from _cpu("cpu_busy", model, cpu_ms)


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
        load = asyncio.run(steadily(system, system.wait_request(model), _RATE_PER_S, scale.seconds)).check()
        yield from (Measurement(f"steady_p{each}", model, load.quantile_ms(each)) for each in _PERCENTS)
        yield from _cpu("cpu_steady", model, _each_ms(meter, load))


def polled(system: System, scale: Scale) -> Iterator[Measurement]:
    """Measure the rate and processor time of 64 clients that poll, and the latency at 50 polled jobs a second."""
    if not isinstance(system, QueueSystem):
        return  # there is nothing to look at
    for model in (QUADRATIC, FOREST):
        job = system.polled(model)
        load, cpu_ms = _closed(system, job, scale)
        yield Measurement("closed_polled", model, load.rate_per_s)
        yield from _cpu("cpu_polled", model, cpu_ms)
        load = asyncio.run(steadily(system, job, _RATE_PER_S, scale.seconds)).check()
        yield from (Measurement(f"steady_polled_p{each}", model, load.quantile_ms(each)) for each in _PERCENTS)


async def steadily(system: System, job: Doing, rate_per_s: float, seconds: float) -> Load:
    """Send jobs at a steady rate, and take every answer."""
    return await open_loop(system.port, job, rate_per_s=rate_per_s, seconds=seconds, status=200)


def _closed(system: System, job: Doing, scale: Scale) -> tuple[Load, dict[str, float]]:
    """Return the load of 64 clients after a stretch that doesn't count, and processor time for each job by role."""

    def loop(seconds: float) -> Load:
        return asyncio.run(closed_loop(system.port, job, clients=_CLIENTS, seconds=seconds, status=200))

    loop(scale.warm_up_s)
    meter = system.meter()
    load = loop(scale.seconds).check()
    return load, _each_ms(meter, load)


async def _counted(system: System, model: str, jobs: int) -> Load:
    encoded = system.wait_request(model)
    return await closed_loop(system.port, encoded, clients=1, seconds=_LIMIT_S, status=200, requests=jobs)


def _each_ms(meter: CpuMeter, load: Load) -> dict[str, float]:
    """Return the processor time of each job by role, also of those answered after the stretch: they were paid for."""
    return {role: ms / len(load.latencies_s) for role, ms in meter.used_ms().items()}


def _cpu(metric: str, model: str, each_ms: dict[str, float]) -> Iterator[Measurement]:
    """Yield milliseconds of each job: of all processes but Redis together, and by role."""
    roles: dict[str, float] = {}
    for name, ms in each_ms.items():
        role = name.split()[0]
        roles[role] = roles.get(role, 0.0) + ms
    yield Measurement(metric, model, sum(ms for role, ms in roles.items() if role != "redis"))
    yield from (Measurement(f"{metric}_{role}", model, ms) for role, ms in roles.items())
