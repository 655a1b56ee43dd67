"""Memory of a whole service that serves one small scikit-learn model: PSS, so that shared pages count once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from bench.figures.measurement import Measurement
from bench.load_client import closed_loop
from bench.models import SMALL
from bench.resources import pss_mib
from bench.scale import Scale
from bench.systems.base import System
from bench.systems.queuecast import Queuecast
from bench.systems.tutorial import Tutorial

_CLIENTS = 4
_LIMIT_S = 60.0


def memory(folder: Path, pickles: Path, scale: Scale) -> Iterator[Measurement]:
    """Measure after some jobs, without Redis."""
    for system in (Queuecast(folder / "queuecast", [SMALL]), Tutorial(folder / "tutorial", pickles, [SMALL])):
        with system:
            asyncio.run(_jobs(system, scale.latency_jobs))
            processes = system.processes()
            worker_mib, api_mib = (pss_mib(processes[role][0]) for role in ("worker", "api"))
            yield Measurement("memory", SMALL, worker_mib + api_mib, system.name)
            yield Measurement("memory_api", SMALL, api_mib, system.name)
            yield Measurement("memory_worker", SMALL, worker_mib, system.name)


async def _jobs(system: System, jobs: int) -> None:
    encoded = system.wait_request(SMALL)
    load = await closed_loop(system.port, encoded, clients=_CLIENTS, seconds=_LIMIT_S, status=200, requests=jobs)
    load.check()
