"""Simulate how batch sizes follow a latency target: a fixed size, AIMD, and `workers/engine/batching/batch_size.py`.

    python bench/studies/adaptive_batching.py [--seconds 60] [--seeds 5]

One host, no machine: time is simulated, and the models are formulas, so that every policy meets the same ones. Each
model is run twice: `full`, with a queue that never ends, and `60 %`, with arrivals at 60 % of the most that any batch
size within the target can do. A job's latency is the time from its arrival to the end of its batch.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).parents[2]))

from registry.serving.settings import LARGEST_BATCH, ServingSettings
from workers.engine.batching.batch_size import BatchSize

TARGET_MS = 100.0
#: One host: a job waits for one batch and takes one.
BUDGET_MS = TARGET_MS / 2
#: A queue that is longer is not served any more, and its latencies say nothing.
_LONGEST_QUEUE = 200_000


class Policy(Protocol):
    """What decides on the size of batches."""

    @property
    def rows(self) -> int:
        """The most rows of the next batch."""

    def measured(self, rows: int, batch_ms: float, predict_ms: float) -> None:
        """Learn how long a batch took."""


class Fixed:
    """Always the same size."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def measured(self, rows: int, batch_ms: float, predict_ms: float) -> None:
        """Learn nothing."""


class Aimd:
    """As in Clipper (NSDI'17, 4.3.1): some rows more after each full batch within the budget, else 10 % fewer."""

    def __init__(self, step: float) -> None:
        self._step = step
        self._limit = 1.0

    @property
    def rows(self) -> int:
        """The most rows of the next batch."""
        return int(self._limit)

    def measured(self, rows: int, batch_ms: float, predict_ms: float) -> None:  # noqa: ARG002 - a policy's
        """One step up or down."""
        if batch_ms > BUDGET_MS:
            self._limit = max(1.0, self._limit * 0.9)
        elif rows >= self.rows:
            self._limit = min(float(LARGEST_BATCH), self._limit + self._step)


@dataclass(frozen=True)
class Model:
    """Takes fixed_ms + row_ms · rows, times noise; from half of the time on `slower` times that."""

    name: str
    fixed_ms: float
    row_ms: float
    noise: float = 0.05
    outliers: float = 0.0
    slower: float = 1.0
    #: Jobs come in bursts of so many seconds' worth, with nothing in between.
    burst_s: float = 0.0
    #: The exponent of rows; over 1, large batches cost more than their share.
    power: float = 1.0

    def batch_ms(self, rows: int, random_: random.Random, *, late: bool) -> float:
        """How long a batch takes."""
        factor = random_.lognormvariate(0, self.noise) * (self.slower if late else 1.0)
        if random_.random() < self.outliers:
            factor *= 8
        return factor * (self.fixed_ms + self.row_ms * math.pow(rows, self.power))

    @property
    def jobs_per_s(self) -> float:
        """The most that it can do within the budget, all the time."""
        slower = max(1.0, self.slower)
        budget_ms = BUDGET_MS / (slower * math.exp(1.645 * self.noise))
        sizes = range(1, LARGEST_BATCH + 1)
        fitting = [n for n in sizes if self.fixed_ms + self.row_ms * math.pow(n, self.power) <= budget_ms] or [64]
        return max(1000 * n / (self.fixed_ms + self.row_ms * math.pow(n, self.power)) / slower for n in fitting)


MODELS = (
    Model("forest", 11, 0.05),
    Model("fixed cost", 30, 0.01),
    Model("linear", 0.2, 0.5),
    Model("dear rows", 2, 8),
    Model("over the target", 200, 2),
    Model("slows down 3 times", 5, 0.1, slower=3),
    Model("speeds up 3 times", 12, 0.3, slower=1 / 3),
    Model("noisy", 8, 0.2, noise=0.3, outliers=0.01),
    Model("bursts", 5, 0.1, burst_s=1.0),
    Model("curved", 5, 0.01, power=1.6),
)
POLICIES: dict[str, Callable[[], Policy]] = {
    "fixed 64": lambda: Fixed(64),
    "AIMD +1": lambda: Aimd(1),
    "AIMD +8": lambda: Aimd(8),
    "auto": lambda: BatchSize(ServingSettings(max_batch_size="auto", target_latency_ms=TARGET_MS)),
}


@dataclass
class Run:
    """What one run has shown."""

    seconds: float
    jobs: int = 0
    batches_ms: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def figures(self) -> tuple[float, float, float, float]:
        """Jobs per second, share of batches within the budget, p95 of batches and of jobs."""
        within = sum(each <= BUDGET_MS for each in self.batches_ms) / len(self.batches_ms)
        return self.jobs / self.seconds, 100 * within, p95(self.batches_ms), p95(self.latencies_ms)


def p95(values: list[float]) -> float:
    """The value below which 95 % stay; infinite without any."""
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))] if values else math.inf


def arrivals(model: Model, jobs_per_s: float, random_: random.Random) -> Iterator[float]:
    """The times at which jobs come, in ms."""
    now_ms = 0.0
    while True:
        now_ms += random_.expovariate(jobs_per_s / 1000)
        if model.burst_s:
            # The same number of jobs, in the first tenth of each period.
            period, into = divmod(now_ms, model.burst_s * 1000)
            yield period * model.burst_s * 1000 + into / 10
        else:
            yield now_ms


def simulate(model: Model, policy: Policy, seconds: float, seed: int, *, full: bool) -> Run:
    """Run one model under one policy."""
    random_, run, now_ms, end_ms = random.Random(seed), Run(seconds), 0.0, seconds * 1000
    coming = arrivals(model, 0.6 * model.jobs_per_s, random.Random(seed + 1))
    waiting: deque[float] = deque()
    following = math.inf if full else next(coming)
    while now_ms < end_ms and len(waiting) < _LONGEST_QUEUE:
        if not full:
            if not waiting:
                now_ms = max(now_ms, following)
            while following <= now_ms:
                waiting.append(following)
                following = next(coming)
        rows = policy.rows if full else min(policy.rows, len(waiting))
        took_ms = model.batch_ms(rows, random_, late=now_ms > end_ms / 2)
        now_ms += took_ms
        run.jobs += rows
        run.batches_ms.append(took_ms)
        if not full:
            run.latencies_ms += [now_ms - waiting.popleft() for _ in range(rows)]
        policy.measured(rows, took_ms, took_ms)
    return run


def main() -> None:
    """Simulate, and print a row for each model and policy."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="simulated time of each run")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each, of which the medians are shown")
    options = parser.parse_args()
    runs_shown = f"medians of {options.seeds} runs of {options.seconds:g} s"
    print(f"Target {TARGET_MS:g} ms, so {BUDGET_MS:g} ms a batch; {runs_shown}.\n")
    print("| model | policy | full: jobs/s | batches within budget | p95 of batches, ms | 60 %: p95 of jobs, ms |")
    print("|---|---|---|---|---|---|")
    for model in MODELS:
        for name, policy in POLICIES.items():
            both = []
            for full in (True, False):
                runs = [simulate(model, policy(), options.seconds, s, full=full).figures for s in range(options.seeds)]
                both.append([statistics.median(each) for each in zip(*runs, strict=True)])
            (rate, within, batch, _), (*_, job) = both
            print(f"| {model.name} | {name} | {rate:,.0f} | {within:.0f} % | {batch:.0f} | {job:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
