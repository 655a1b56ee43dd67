"""Memory of a whole service that serves one model alone: PSS, so that shared pages count once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from bench.figures.measurement import Measurement
from bench.load_client import closed_loop
from bench.models import FOREST, QUADRATIC
from bench.resources import pss_mib
from bench.scale import Scale
from bench.systems import mlserver
from bench.systems.base import System
from bench.systems.queuecast import Queuecast
from bench.systems.tutorial import Tutorial

_CLIENTS = 4
_LIMIT_S = 60.0


def memory(folder: Path, pickles: Path, scale: Scale) -> Iterator[Measurement]:
    """Measure after some jobs, without Redis."""
    for model in (QUADRATIC, FOREST):
        systems: list[System] = [
            Queuecast(folder / model / "queuecast", [model]),
            Tutorial(folder / model / "tutorial", pickles, [model]),
        ]
        if mlserver.is_installed():
            systems.append(mlserver.MLServer(folder / model / "mlserver", pickles, [model]))
        for system in systems:
            with system:
                yield from _memory(system, model, scale.latency_jobs)


def _memory(system: System, model: str, jobs: int) -> Iterator[Measurement]:
    asyncio.run(_jobs(system, model, jobs))
    mib = {"api": 0.0, "worker": 0.0}
    for role, (pid, children) in system.processes().items():
        if role != "redis":
            mib["api" if role == "api" else "worker"] += pss_mib(pid, children=children)
    yield Measurement("memory", model, sum(mib.values()), system.name)
    yield from (Measurement(f"memory_{part}", model, each, system.name) for part, each in mib.items())


async def _jobs(system: System, model: str, jobs: int) -> None:
    encoded = system.wait_request(model)
    load = await closed_loop(system.port, encoded, clients=_CLIENTS, seconds=_LIMIT_S, status=200, requests=jobs)
    load.check()
