"""What the plots show: latency against offered load, and throughput and predict time against the size of batch."""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Iterator
from pathlib import Path

from bench.figures.draining import rate
from bench.figures.measurement import Measurement
from bench.figures.waiting import steadily
from bench.models import FOREST
from bench.scale import Scale
from bench.systems import templates
from bench.systems.base import QueueSystem
from bench.systems.queuecast import Queuecast
from bench.systems.tutorial import Tutorial

LOAD_P50, LOAD_P95, BATCH_RATE, BATCH_PREDICT_MS = "load_p50", "load_p95", "batch_rate", "batch_predict_ms"
#: A curve ends with the first load that its system can't follow: it answers slowly, or not all.
_FULL_MS = 1_000.0
_FEWEST_JOBS = 40
#: A drain has so many full batches, at the least.
_BATCHES = 40
_SHOWN_JOBS = 64


def load(folder: Path, pickles: Path, scale: Scale) -> Iterator[Measurement]:
    """Measure p50 and p95 of a forest's jobs at rising loads, on both systems in turn."""
    with Queuecast(folder / "queuecast", [FOREST]) as mine, Tutorial(folder / "tutorial", pickles, [FOREST]) as other:
        following: list[QueueSystem] = [mine, other]
        for per_s in scale.loads_per_s:
            for system in list(following):
                seconds = max(scale.seconds, _FEWEST_JOBS / per_s)
                found = asyncio.run(steadily(system, system.wait_request(FOREST), per_s, seconds))
                system.wait_until_idle(FOREST)
                if found.answers < scale.loads_per_s[0] * scale.seconds / 2:
                    raise RuntimeError(f"{system.name} at {per_s} jobs/s: {found.first_error}")
                yield Measurement(LOAD_P50, FOREST, found.quantile_ms(50), system.name, per_s)
                yield Measurement(LOAD_P95, FOREST, found.quantile_ms(95), system.name, per_s)
                if found.errors or found.quantile_ms(50) > _FULL_MS:
                    following.remove(system)


def batch(folder: Path, pickles: Path, scale: Scale) -> Iterator[Measurement]:
    """Measure a forest's drain, and its time to predict, at rising sizes of batch."""
    del pickles
    with Queuecast(folder / "queuecast", [FOREST]) as system:
        for size in scale.batch_sizes:
            name = f"{FOREST}-{size}"
            system.stack.deploy(FOREST, endpoint_name=name, max_batch_size=size, max_queue_length=1_000_000)
            jobs = min(scale.drained, max(_BATCHES * size, scale.drained_slowly // 2))
            for _ in range(scale.rounds):
                yield Measurement(BATCH_RATE, FOREST, rate(system, name, jobs), system.name, size)
                yield Measurement(BATCH_PREDICT_MS, FOREST, _predict_ms(system, name, size), system.name, size)
            system.stack.undeploy(name)


def _predict_ms(system: Queuecast, endpoint_name: str, size: int) -> float:
    """Return the time to predict of batches that are full, from the outcomes of a drain."""
    job_ids = templates.ids(max(_SHOWN_JOBS, 4 * size))
    with system.paused(), system.redis() as client:
        system.put(client, endpoint_name, job_ids)
    system.wait_until_answered(job_ids, 60)
    with system.redis() as client:
        records = client.mget([system.answer_key(job_id) for job_id in job_ids])
    outcomes = [json.loads(record or "{}")["result"] for record in records]
    fullest = max(each["batch_size"] for each in outcomes)
    times_ms = [float(each["timing"]["predict_ms"]) for each in outcomes if each["batch_size"] == fullest]
    return statistics.median(times_ms)
