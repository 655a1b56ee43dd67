"""What idle deployments on the same worker cost: the drain rate of one with so many others beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.figures.draining import rate
from bench.figures.measurement import Measurement
from bench.models import QUADRATIC
from bench.scale import Scale
from bench.systems.queuecast import Queuecast
from tests.support.waiting import eventually

#: Each of them is a process that has to load its model.
_START_LIMIT_S = 300.0
_REPEATS = 3


def deployments(folder: Path, pickles: Path, scale: Scale) -> Iterator[Measurement]:
    """Measure jobs per second of the first deployment, several times at each count."""
    del pickles
    with Queuecast(folder / "queuecast", [QUADRATIC]) as system:
        there = 1
        for count in scale.deployments:
            _deploy(system, range(there, count))
            there = max(there, count)
            rate(system, QUADRATIC, scale.drained // 5)
            for _ in range(_REPEATS):
                found = rate(system, QUADRATIC, scale.drained)
                yield Measurement(f"deployments_{count}", QUADRATIC, found, system.name)


def _deploy(system: Queuecast, numbers: range) -> None:
    names = {f"{QUADRATIC}-{number}" for number in numbers}
    for name in sorted(names):
        system.stack.deploy(QUADRATIC, wait_s=0, endpoint_name=name)

    def active() -> bool:
        views = system.stack.api.get("/deployments").json()["deployments"]
        return names <= {view["endpoint_name"] for view in views if view["status"] == "active"}

    eventually(active, _START_LIMIT_S, interval_s=0.5, message=f"{len(names)} more deployments are active")
