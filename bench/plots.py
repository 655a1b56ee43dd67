"""Draws the curves of a run: docs/images/latency_against_load.png and throughput_against_batch_size.png.

python -m bench.plots docs/performance.json docs/images      # again, from the JSON of a run
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.figures import curves
from bench.summary import Sample

LOAD_PLOT, BATCH_PLOT = "latency_against_load.png", "throughput_against_batch_size.png"
_COLOURS = {"queuecast": "#0b6e4f", "tutorial": "#c1502e"}
_NAMES = {"queuecast": "Queuecast", "tutorial": "tutorial Celery"}
_GREY = "#666666"
Curve = list[tuple[float, float]]


def curve(samples: Sequence[Sample], metric: str, system: str) -> Curve:
    """Return the medians of a metric along its curve."""
    found: dict[float, list[float]] = defaultdict(list)
    for each in samples:
        if (each.metric, each.system) == (metric, system):
            found[each.at].append(each.value)
    return [(at, statistics.median(values)) for at, values in sorted(found.items())]


def draw(samples: Sequence[Sample], folder: Path) -> list[Path]:
    """Draw what there are samples of; return the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 150})
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    if any(each.metric == curves.LOAD_P50 for each in samples):
        drawn.append(_draw_load(samples, folder / LOAD_PLOT))
    if any(each.metric == curves.BATCH_RATE for each in samples):
        drawn.append(_draw_batch(samples, folder / BATCH_PLOT))
    return drawn


def _draw_load(samples: Sequence[Sample], path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    for system, colour in _COLOURS.items():
        for metric, word, style in ((curves.LOAD_P50, "p50", "-"), (curves.LOAD_P95, "p95", "--")):
            points = curve(samples, metric, system)
            label = f"{_NAMES[system]}, {word}"
            axes.plot(*_columns(points), style, color=colour, marker="o", markersize=3.5, label=label)
    axes.set(xscale="log", yscale="log", xlabel="offered load, jobs/s", ylabel="latency, ms")
    axes.set_title("Random forest, 1 worker: latency against load (a line ends where its system is full)", fontsize=10)
    _plain_ticks(axes.xaxis, sorted({each.at for each in samples if each.metric == curves.LOAD_P50}))
    _plain_ticks(axes.yaxis, [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000])
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper left")
    return _saved(figure, path)


def _draw_batch(samples: Sequence[Sample], path: Path) -> Path:
    from matplotlib import pyplot as plt

    figure, (upper, lower) = plt.subplots(2, 1, figsize=(7.5, 5), sharex=True, layout="constrained")
    panels = (
        (upper, curves.BATCH_RATE, "drain, jobs/s"),
        (lower, curves.BATCH_PREDICT_MS, "predict time of a batch, ms"),
    )
    for axes, metric, label in panels:
        points = curve(samples, metric, "queuecast")
        axes.plot(*_columns(points), color=_COLOURS["queuecast"], marker="o", markersize=4)
        for at, value in points:
            text = f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
            axes.annotate(text, (at, value), (-3, 6), textcoords="offset points", ha="right", fontsize=8, color=_GREY)
        axes.set(ylabel=label, ylim=(0, max(value for _, value in points) * 1.18))
        axes.grid(alpha=0.25)
    upper.yaxis.set_major_formatter("{x:,.0f}")
    lower.set(xscale="log", xlabel="max_batch_size")
    _plain_ticks(lower.xaxis, [at for at, _ in curve(samples, curves.BATCH_RATE, "queuecast")])
    upper.set_title("Random forest, 1 worker: throughput and predict time against max_batch_size", fontsize=10)
    return _saved(figure, path)


def _columns(points: Curve) -> tuple[list[float], list[float]]:
    return [at for at, _ in points], [value for _, value in points]


def _plain_ticks(axis: Any, values: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _saved(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot as plt

    # No date and no version in it: the same numbers make the same file.
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
    return path


def main() -> None:
    """Draw again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="the JSON of a run")
    parser.add_argument("folder", type=Path, help="where the images go")
    options = parser.parse_args()
    samples = [Sample(**each) for each in json.loads(options.results.read_text(encoding="utf-8"))["samples"]]
    for path in draw(samples, options.folder):
        print(path)


if __name__ == "__main__":
    main()
