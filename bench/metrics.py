"""What each metric is called, which way is better, and the targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.models import FOREST, QUADRATIC


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
    """What the ratio must be: at least (more is better) or at most that; with a unit, Queuecast's own value."""

    bound: float
    at_least: bool = True
    unit: str = ""

    def met(self, found: float) -> bool:
        """Tell whether a ratio, or a value, is good enough."""
        return found >= self.bound if self.at_least else found <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit or '×'}"


def _at_most(bound: float, unit: str = "") -> Target:
    return Target(bound, at_least=False, unit=unit)


def _latencies(key: str, title: str) -> Iterator[Metric]:
    return (Metric(f"{key}_p{each}", f"{title}, p{each}", "ms") for each in (50, 95, 99))


def _cpu(key: str, title: str) -> Iterator[Metric]:
    yield Metric(key, f"{title}, all processes", "ms")
    parts = (("api", "API"), ("worker", "worker"), ("host", "model host or child"), ("redis", "Redis (not in the sum)"))
    for role, what in parts:
        yield Metric(f"{key}_{role}", f"{title}, {what}", "ms")


#: In the order of the table.
METRICS = [
    Metric("submit_16", "submits over HTTP, 16 clients", "1/s"),
    Metric("submit_64", "submits over HTTP, 64 clients", "1/s"),
    Metric("cpu_submit_16", "API's processor time of a submit, 16 clients", "ms"),
    Metric("cpu_submit_64", "API's processor time of a submit, 64 clients", "ms"),
    Metric("bulk", "bulk submit, against the tutorial's submits (16 clients)", "jobs/s", "submit_16", "tutorial"),
    Metric("drain", "drain of a full queue", "jobs/s"),
    Metric("drain_quiet", 'drain of a full queue, `events: "off"`, against `drain`', "jobs/s", "drain"),
    Metric("closed", "closed loop, 64 clients that wait", "jobs/s"),
    Metric("closed_polled", "closed loop, 64 clients that poll", "jobs/s"),
    *_latencies("latency", "latency, one client that waits"),
    *_latencies("steady", "latency at 50 jobs/s, waited for"),
    *_latencies("steady_polled", "latency at 50 jobs/s, polled"),
    Metric("rows_1", "rows in jobs of 1, 4 clients", "rows/s"),
    Metric("rows_64", "rows in jobs of 64, 4 clients", "rows/s"),
    Metric("rows_1024", "rows in jobs of 1,024, 4 clients", "rows/s"),
    Metric("job_1024", "one job of 1,024 rows, one client, p50", "ms"),
    *_cpu("cpu_busy", "CPU of a job, 64 clients that wait"),
    *_cpu("cpu_polled", "CPU of a job, 64 clients that poll"),
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
    Metric("drain_journal_off", "drain without the journal", "jobs/s"),
    Metric("drain_journal_on", "drain with `journal: 1`, against without", "jobs/s", "drain_journal_off", "queuecast"),
    Metric("cpu_journal_off", "CPU of a drained job, worker, host and Redis, without the journal", "ms"),
    Metric("cpu_journal_on", "CPU of a drained job with `journal: 1`, against without", "ms",
           "cpu_journal_off", "queuecast"),
    Metric("cpu_journal_moved", "CPU of the background process for a job that it moves, its start included", "ms"),
    Metric("journal_bytes", "a job in the journal's Parquet files", "bytes"),
    Metric("held_waits", "requests held in one API process (`Prefer: wait`)", "count"),
    Metric("held_wait_kib", "memory (PSS) of the API for each held request", "KiB"),
    Metric("held_streams", "event streams open in the same process", "count"),
    Metric("held_stream_kib", "memory (PSS) of the API for each event stream", "KiB"),
    Metric("held_cpu", "API's processor time in each second in which all are held and nothing else is to do", "ms"),
    Metric("held_submit_without", "submits over HTTP, 16 clients, without them", "1/s"),
    Metric("held_submit", "submits over HTTP, 16 clients, with all of them, against without", "1/s",
           "held_submit_without", "queuecast"),
    Metric("held_cpu_submit_without", "API's processor time of a submit without them", "ms"),
    Metric("held_cpu_submit", "API's processor time of a submit with all of them, against without", "ms",
           "held_cpu_submit_without", "queuecast"),
    Metric("held_answer_s", "all of them answered, from the moment when the worker continues", "s"),
]  # fmt: skip

TARGETS = {
    ("submit_16", QUADRATIC): Target(8),
    ("submit_16", FOREST): Target(8),
    ("submit_64", QUADRATIC): Target(8),
    ("submit_64", FOREST): Target(8),
    ("cpu_submit_16", QUADRATIC): _at_most(0.2, "ms"),
    ("cpu_submit_16", FOREST): _at_most(0.2, "ms"),
    ("cpu_submit_64", QUADRATIC): _at_most(0.2, "ms"),
    ("cpu_submit_64", FOREST): _at_most(0.2, "ms"),
    ("bulk", QUADRATIC): Target(30),
    ("drain", QUADRATIC): Target(15),
    ("drain", FOREST): Target(40),
    ("closed", QUADRATIC): Target(7),
    ("closed", FOREST): Target(20),
    ("closed_polled", QUADRATIC): Target(5),
    ("closed_polled", FOREST): Target(15),
    ("latency_p50", QUADRATIC): _at_most(0.3),
    ("steady_polled_p50", QUADRATIC): _at_most(0.5),
    ("job_1024", FOREST): _at_most(0.6),
    ("cpu_busy", QUADRATIC): _at_most(0.15),
    ("cpu_busy", FOREST): _at_most(0.08),
    ("cpu_polled", QUADRATIC): _at_most(0.15),
    ("cpu_polled", FOREST): _at_most(0.08),
    ("memory", QUADRATIC): _at_most(1.3),
    ("memory", FOREST): _at_most(1.2),
    ("drain_journal_on", QUADRATIC): Target(0.9),
    ("deployments_300", QUADRATIC): Target(0.7),
}
