"""Charts of a deployment's last hour and day, as paths of SVG that the server draws. Must not decide anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.console import text
from workers.measures import figures
from workers.measures.figures import Point

WIDTH, HEIGHT = 320, 90
_HOUR_S, _DAY_S = 3_600, 86_400
#: Part of a step that its bar takes.
_BAR = 0.8


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one row of bars; `style` is its class in the style sheet."""

    name: str
    style: str
    path: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: `summary` says in words what it shows."""

    key: str
    title: str
    series: Sequence[Series]
    most: str
    summary: str


@dataclass(frozen=True, slots=True)
class Panel:
    """The charts of one time, and the same as rows."""

    key: str
    title: str
    ago: str
    charts: Sequence[Chart]
    #: The steps in which something happened, newest first.
    rows: Sequence[dict[str, Any]]


def panels(endpoint_name: str) -> list[Panel]:
    """Return the panels of a deployment's page."""
    return [
        _panel("hour", "The last hour", "60 min ago", figures.read(endpoint_name, _HOUR_S)),
        _panel("day", "The last 24 hours", "24 h ago", figures.read(endpoint_name, _DAY_S)),
    ]


def bars(values: Sequence[float | None], most: float) -> str:
    """Return a bar for each value above 0."""
    step = WIDTH / max(1, len(values))
    return "".join(
        f"M{index * step:.1f} {HEIGHT}V{_y(value, most):.1f}h{step * _BAR:.1f}V{HEIGHT}z"
        for index, value in enumerate(values)
        if value
    )


def line(values: Sequence[float | None], most: float) -> str:
    """Return a line with a gap at each missing value; a lone value is a point."""
    step, parts, gap = WIDTH / max(1, len(values)), list[str](), True
    for index, value in enumerate(values):
        if value is not None:
            place = f"{(index + 0.5) * step:.1f} {_y(value, most):.1f}"
            parts.append(f"M{place}h0" if gap else f"L{place}")
        gap = value is None
    return "".join(parts)


def _panel(key: str, title: str, ago: str, points: Sequence[Point]) -> Panel:
    steps = [{"at": _clock(point.at_s), **point.figures.document()} for point in points]
    total = figures.summary(points).document()
    return Panel(
        key,
        title,
        ago,
        [_jobs(steps, total), _times(steps, total), _depth(steps, total)],
        [each for each in reversed(steps) if each["jobs"] or each["queue_depth"]],
    )


def _jobs(steps: Sequence[dict[str, Any]], total: dict[str, Any]) -> Chart:
    ended, failed = _values(steps, "jobs"), _values(steps, "failed")
    most = _most(ended)
    drawn = [Series("ended", "bar", bars(ended, most)), Series("failed", "bar bad-bar", bars(failed, most))]
    words = f"{text.count(total['jobs'])} jobs ended, {text.count(total['failed'])} of them with an error."
    return Chart("jobs", "Jobs that ended", drawn, text.count(most), words)


def _times(steps: Sequence[dict[str, Any]], total: dict[str, Any]) -> Chart:
    median, high = _values(steps, "total_p50_ms"), _values(steps, "total_p95_ms")
    most = _most(high)
    drawn = [Series("p95", "curve high-curve", line(high, most)), Series("median", "curve", line(median, most))]
    words = f"Median {text.ms(total['total_p50_ms'])}, 95th percentile {text.ms(total['total_p95_ms'])}."
    return Chart("times", "Whole-job time", drawn, text.ms(most) if most else text.NOTHING, words)


def _depth(steps: Sequence[dict[str, Any]], total: dict[str, Any]) -> Chart:
    depth = _values(steps, "queue_depth")
    most = _most(depth)
    if total["queue_depth"] is None:
        words = "No worker was running to look."
    else:
        words = f"At most {text.count(total['queue_depth'])} jobs waited, at one look a minute."
    return Chart(
        "depth", "Jobs that waited", [Series("waiting", "bar calm-bar", bars(depth, most))], text.count(most), words
    )


def _values(steps: Sequence[dict[str, Any]], name: str) -> list[float | None]:
    return [each[name] for each in steps]


def _most(values: Sequence[float | None]) -> float:
    return max((each for each in values if each is not None), default=0)


def _y(value: float, most: float) -> float:
    """Return the height of a value; one above 0 is always seen."""
    return HEIGHT - max(2.0 if value else 0.0, value / most * (HEIGHT - 2) if most else 0.0)


def _clock(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%H:%M")
