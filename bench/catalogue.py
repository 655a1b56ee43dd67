"""Every figure by name, with a line about it, and the systems."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures import (
    backlogs,
    curves,
    draining,
    held,
    journal,
    many_deployments,
    many_rows,
    memory,
    starting,
    submitting,
    waiting,
)
from bench.figures.measurement import Measurement
from bench.scale import Scale
from bench.studies.profiles import breakdown
from bench.systems.base import System

SideBySide = Callable[[System, Scale], Iterator[Measurement]]
#: Starts services of its own in a folder; gets the folder of the pickled models.
Alone = Callable[[Path, Path, Scale], Iterator[Measurement]]

SYSTEMS = ("queuecast", "tutorial", "floor", "floor-64", "mlserver")
SIDE_BY_SIDE: dict[str, tuple[str, SideBySide]] = {
    "submit": ("submits per second over HTTP, 16 and 64 clients, and CPU of a submit", submitting.submit),
    "bulk": ("jobs per second of bulk submits", submitting.bulk),
    "drain": ("jobs per second of a full queue", draining.drain),
    "drain-quiet": ("the same without job events", draining.drain_without_events),
    "closed": ("jobs per second, and CPU of a job, of 64 clients that wait", waiting.closed),
    "polled": ("the same, and p50, p95, p99 at 50 jobs/s, of clients that poll", waiting.polled),
    "latency": ("p50, p95, p99 of one client", waiting.latency),
    "steady": ("p50, p95, p99, and CPU of a job, at 50 jobs/s", waiting.steady),
    "rows": ("rows per second of jobs with 1, 64 and 1,024 rows, and the time of one of 1,024", many_rows.rows),
}
ALONE: dict[str, tuple[str, Alone]] = {
    "memory": ("memory of a service with one model", memory.memory),
    "start": ("seconds to the first answer of API, worker and a new deployment", starting.starts),
    "deployments": ("drain of one of 1 to 300 deployments on one worker", many_deployments.deployments),
    "backlog": ("submits and drain with 1,000 to 1,000,000 jobs waiting", backlogs.backlogs),
    "held": ("10,000 requests held and 5,000 event streams in one API: memory, and submits meanwhile", held.held),
    "journal": ("drain and CPU of a job with and without the journal, and its bytes in Parquet", journal.journal),
    "breakdown": ("where the time of one job goes, step by step", breakdown.breakdown),
    "load": ("p50 and p95 of a forest's jobs against offered load (a plot)", curves.load),
    "batch": ("a forest's throughput and predict time against max_batch_size (a plot)", curves.batch),
}
FIGURES: dict[str, tuple[str, SideBySide | Alone]] = {**SIDE_BY_SIDE, **ALONE}
QUICK_FIGURES = ["submit", "bulk", "drain", "closed", "polled", "latency"]
