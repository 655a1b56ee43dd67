"""What a run has shown: a table, a plot of the memory, and whether it is as it should be."""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.density.load import Job
from bench.density.service import Watched

#: What is aimed at: cold starts (ms), and the hottest deployments' p95 among all, in parts of that without the others.
COLD_P50_MS, COLD_P95_MS, HOT_RATIO = 300.0, 1_500.0, 1.2
_COLOURS = ("#0b6e4f", "#c1502e")


@dataclass
class Results:
    """The jobs of each round, and what was measured beside them."""

    hot: Collection[str]
    deploys_per_s: float = 0.0
    #: Rounds of the hottest deployments alone, of all, and of all with kills.
    alone: list[list[Job]] = field(default_factory=list)
    among: list[list[Job]] = field(default_factory=list)
    killed: list[list[Job]] = field(default_factory=list)
    #: The loads for waiting jobs, and those of them in rounds with kills.
    cold_ms: list[float] = field(default_factory=list)
    cold_killed_ms: list[float] = field(default_factory=list)
    evictions: int = 0
    #: How long the pages take that show all deployments (ms), with nothing else to do.
    pages_ms: dict[str, float] = field(default_factory=dict)

    @property
    def jobs(self) -> list[Job]:
        """All of them."""
        return [job for rounds in (self.alone, self.among, self.killed) for each in rounds for job in each]

    def hot_p95_ms(self, rounds: Iterable[list[Job]]) -> float:
        """Return the median over rounds of the p95 of the hottest deployments."""
        return _median(quantile_ms([job for job in each if job.name in self.hot], 0.95) for each in rounds)

    @property
    def hot_ratio(self) -> float:
        """The hottest deployments' p95 among all, in parts of that of the same jobs alone."""
        return self.hot_p95_ms(self.among) / self.hot_p95_ms(self.alone)

    @property
    def cold_quiet_ms(self) -> list[float]:
        """The loads for waiting jobs without kills."""
        return list((Counter(self.cold_ms) - Counter(self.cold_killed_ms)).elements())


def quantile_ms(jobs: Sequence[Job], q: float) -> float:
    """Return a quantile of the time of jobs, from when they were due until their outcomes."""
    return float(np.quantile([each.took_s for each in jobs], q)) * 1000 if jobs else float("nan")


def table(results: Results, watched: Watched, options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the rows of the table."""
    jobs = results.jobs
    failed, wrong = sum(each.failed is not None for each in jobs), sum(each.is_wrong for each in jobs)
    hot_among = [job for each in results.among for job in each if job.name in results.hot]
    hot_alone = [job for each in results.alone for job in each if job.name in results.hot]
    rows = [
        ("deployments, workers", f"{options.deployments}, {options.workers}"),
        ("deploys per s", f"{results.deploys_per_s:.1f}"),
        ("jobs, failed, wrong", f"{len(jobs)}, {failed}, {wrong}"),
        ("kills of hosts, of workers", f"{watched.host_kills}, {len(watched.worker_kills)}"),
        ("peak memory of a worker, budget (MiB)", f"{watched.most_mb:.0f}, {options.budget_mb}"),
        ("cold starts, evictions", f"{len(results.cold_ms)}, {results.evictions}"),
        ("cold start p50, p95 (ms)", _of_loads(results.cold_ms)),
        ("cold start without kills p50, p95 (ms)", _of_loads(results.cold_quiet_ms)),
        ("all jobs without kills p50, p95 (ms)", _quantiles([job for each in results.among for job in each])),
        ("all jobs with kills p50, p95 (ms)", _quantiles([job for each in results.killed for job in each])),
        (f"{len(results.hot)} hottest alone p50, p95 (ms)", _quantiles(hot_alone)),
        (f"{len(results.hot)} hottest among all p50, p95 (ms)", _quantiles(hot_among)),
        ("hottest, p95 of rounds: alone", _each(results, results.alone)),
        ("hottest, p95 of rounds: among all", _each(results, results.among)),
        ("hottest: p95 among all to alone", f"{results.hot_ratio:.2f}"),
        *[(f"GET {path} (ms)", f"{took_ms:.0f}") for path, took_ms in results.pages_ms.items()],
    ]
    if options.workers > 1:
        most = max((doubled for _, doubled in watched.loaded), default=0)
        mean = statistics.fmean(loaded for loaded, _ in watched.loaded) if watched.loaded else 0.0
        rows.append(("loaded models, most by two workers at once", f"{mean:.0f}, {most}"))
    return rows


def problems(results: Results, watched: Watched, options: argparse.Namespace) -> list[str]:
    """Return what is not as it must be: jobs without their right answers, and memory over the budget."""
    found = [each.failed for each in results.jobs if each.failed is not None][:10]
    if wrong := [each.name for each in results.jobs if each.is_wrong]:
        found.append(f"{len(wrong)} wrong answers, of {', '.join(sorted(set(wrong))[:10])}")
    if watched.most_mb > options.budget_mb + options.error_mb:
        found.append(f"{watched.most_mb:.0f} MiB in use, of {options.budget_mb}")
    return found


def draw(watched: Watched, budget_mb: int, path: Path) -> None:
    """Draw the memory of each worker's hosts against the budget, with the moments when a worker was killed."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 150})
    figure, axes = plt.subplots(figsize=(7.5, 3.5), layout="constrained")
    for colour, (name, samples) in zip(_COLOURS, sorted(watched.memory_mb.items()), strict=False):
        axes.plot([at / 60 for at, _ in samples], [size for _, size in samples], color=colour, linewidth=1, label=name)
    axes.axhline(budget_mb, color="#666666", linestyle="--", linewidth=1, label="budget")
    for number, at in enumerate(watched.worker_kills):
        label = "a worker is killed" if not number else None
        axes.plot([at / 60], [0], marker="^", color="#c1502e", linestyle="none", label=label, clip_on=False)
    axes.set(xlabel="minutes", ylabel="memory of the hosts, MiB", ylim=(0, budget_mb * 1.15))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def _each(results: Results, rounds: Sequence[list[Job]]) -> str:
    return ", ".join(f"{results.hot_p95_ms([each]):.1f}" for each in rounds) or "-"


def _of_loads(took_ms: Sequence[float]) -> str:
    return f"{np.quantile(took_ms, 0.5):.0f}, {np.quantile(took_ms, 0.95):.0f}" if took_ms else "-"


def _quantiles(jobs: Sequence[Job]) -> str:
    return f"{quantile_ms(jobs, 0.5):.1f}, {quantile_ms(jobs, 0.95):.1f}" if jobs else "-"


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.median(found) if found else float("nan")
