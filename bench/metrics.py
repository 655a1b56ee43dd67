"""What each metric is called, which way is better, and the targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.models import FOREST, QUADRATIC, SMALL


@dataclass(frozen=True)
class Metric:
    """A row of the table for each model that it is measured with.

    Attributes:
        against: the metric that the ratio is to, and of which system: the same of the tutorial by default.
    """

    key: str
    title: str
    unit: str
    against: str = ""
    against_system: str = "tutorial"


@dataclass(frozen=True)
class Target:
    """What the ratio must be: at least (more is better) or at most that."""

    ratio: float
    at_least: bool = True

    def met(self, ratio: float) -> bool:
        """Tell whether a ratio is good enough."""
        return ratio >= self.ratio if self.at_least else ratio <= self.ratio

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.ratio:g} ×"


def _latencies(key: str, title: str) -> Iterator[Metric]:
    return (Metric(f"{key}_p{each}", f"{title}, p{each}", "ms") for each in (50, 95, 99))


def _cpu(key: str, title: str) -> Iterator[Metric]:
    yield Metric(key, f"{title}, all processes", "ms")
    for role, what in (("api", "API"), ("worker", "worker"), ("host", "model host or prefork child")):
        yield Metric(f"{key}_{role}", f"{title}, {what}", "ms")


#: In the order of the table.
METRICS = [
    Metric("submit_16", "submits over HTTP, 16 clients", "1/s"),
    Metric("submit_64", "submits over HTTP, 64 clients", "1/s"),
    Metric("bulk", "bulk submit, against the tutorial's submits (16 clients)", "jobs/s", "submit_16", "tutorial"),
    Metric("drain", "drain of a full queue", "jobs/s"),
    Metric("drain_quiet", 'drain of a full queue, `events: "off"`, against `drain`', "jobs/s", "drain"),
    Metric("closed", "closed loop, 64 clients that wait", "jobs/s"),
    *_latencies("latency", "latency, one client"),
    *_latencies("steady", "latency at 50 jobs/s"),
    Metric("rows_1", "rows in jobs of 1, 4 clients", "rows/s"),
    Metric("rows_64", "rows in jobs of 64, 4 clients", "rows/s"),
    Metric("rows_1024", "rows in jobs of 1,024, 4 clients", "rows/s"),
    *_cpu("cpu_busy", "CPU of a job, 64 clients"),
    *_cpu("cpu_steady", "CPU of a job, 50 jobs/s"),
    Metric("memory", "memory (PSS), one deployment", "MiB"),
    Metric("memory_api", "memory (PSS), API", "MiB"),
    Metric("memory_worker", "memory (PSS), worker with hosts or children", "MiB"),
    Metric("start_api", "API process start to ready", "s"),
    Metric("start_worker", "worker process start to its first answer", "s"),
    Metric("start_deploy", "deploy to its first prediction", "s"),
    *(
        Metric(f"deployments_{count}", f"drain of 1 of {count:,} deployments on one worker, against 1 of 1", "jobs/s",
               "deployments_1", "queuecast")
        for count in (1, 2, 10, 100, 300)
    ),
    *(
        Metric(f"{key}_{count}", f"{title} with {count:,} jobs waiting", unit)
        for key, title, unit in (
            ("backlog_latency", "submit latency, p50, one client,", "ms"), ("backlog_drain", "drain", "jobs/s")
        )
        for count in (100, 1_000, 10_000, 100_000, 1_000_000)
    ),
]  # fmt: skip

TARGETS = {
    ("submit_16", QUADRATIC): Target(2.5),
    ("submit_64", QUADRATIC): Target(2.5),
    ("submit_16", FOREST): Target(2.5),
    ("submit_64", FOREST): Target(2.5),
    ("bulk", QUADRATIC): Target(30),
    ("drain", QUADRATIC): Target(10),
    ("drain", FOREST): Target(25),
    ("closed", FOREST): Target(10),
    ("latency_p50", QUADRATIC): Target(0.5, at_least=False),
    ("cpu_busy", QUADRATIC): Target(0.4, at_least=False),
    ("memory", SMALL): Target(1.3, at_least=False),
    ("deployments_300", QUADRATIC): Target(0.7),
}
