"""What the journal costs: drain and processor time of a job with and without it, and its bytes in Parquet."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from bench.figures.draining import rate
from bench.figures.measurement import Measurement
from bench.models import QUADRATIC
from bench.resources import cpu_s
from bench.scale import Scale
from bench.systems.queuecast import Queuecast
from tests.support.waiting import eventually
from workers import keys

#: Endpoint -> its part of the metrics' names, and the share that is kept.
_ENDPOINTS = {f"{QUADRATIC}-unkept": ("journal_off", 0.0), f"{QUADRATIC}-kept": ("journal_on", 1.0)}
_VARIED = f"{QUADRATIC}-varied"
_AT_ONCE = 500
_LIMIT_S = 120.0


def journal(folder: Path, _pickles: Path, scale: Scale) -> Iterator[Measurement]:
    """Measure both endpoints in turns, the first of them once without being counted; then move what was kept."""
    with Queuecast(folder / "queuecast", [QUADRATIC]) as mine:
        for name, (_, share) in _ENDPOINTS.items():
            mine.stack.deploy(QUADRATIC, endpoint_name=name, journal=share)
            rate(mine, name, scale.drained // 4)
        for number in range(2 * scale.rounds):
            for name in list(_ENDPOINTS) if number % 2 == 0 else reversed(_ENDPOINTS):
                before, what = _cpu_s(mine), _ENDPOINTS[name][0]
                yield Measurement(f"drain_{what}", QUADRATIC, rate(mine, name, scale.drained), mine.name)
                used_ms = (_cpu_s(mine) - before) * 1000 / scale.drained
                yield Measurement(f"cpu_{what}", QUADRATIC, used_ms, mine.name)
        jobs = scale.drained // 4 + 2 * scale.rounds * scale.drained
        yield from _moved(mine, jobs)
        yield _bytes(mine, scale.drained)


def _cpu_s(mine: Queuecast) -> float:
    """The processor time of worker, hosts and Redis."""
    return sum(cpu_s(pid, children=children) for role, (pid, children) in mine.processes().items() if role != "api")


def _moved(mine: Queuecast, jobs: int) -> Iterator[Measurement]:
    background = mine.stack.start_background({"QUEUECAST_JOURNAL_INTERVAL_S": "1"})
    with mine.redis() as client:
        eventually(lambda: not client.xlen(keys.JOURNAL), _LIMIT_S, message="the stream is moved")
    yield Measurement("cpu_journal_moved", QUADRATIC, cpu_s(background.pid) * 1000 / jobs, mine.name)


def _bytes(mine: Queuecast, jobs: int) -> Measurement:
    """Measure jobs whose inputs differ; those of a drain are all the same, and take next to nothing."""
    draw = random.Random(1)
    mine.stack.deploy(QUADRATIC, endpoint_name=_VARIED, journal=1.0)
    for start in range(0, jobs, _AT_ONCE):
        body = [{"input": draw.uniform(-100, 100)} for _ in range(min(_AT_ONCE, jobs - start))]
        mine.stack.api.post(f"/predict/{_VARIED}/bulk", json=body).raise_for_status()
    eventually(lambda: mine.stack.view(_VARIED)["request_count"] >= jobs, _LIMIT_S, message="all jobs have ended")
    with mine.redis() as client:
        eventually(lambda: not client.xlen(keys.JOURNAL), _LIMIT_S, message="the stream is moved")
    folder = Path(mine.stack.env["QUEUECAST_DATA_DIR"]) / "artifacts/journal" / f"endpoint_name={_VARIED}"
    size_bytes = sum(each.stat().st_size for each in folder.glob("*/*.parquet"))
    return Measurement("journal_bytes", QUADRATIC, size_bytes / jobs, mine.name)
