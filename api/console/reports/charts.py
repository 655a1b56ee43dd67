"""Charts of a report, as paths of SVG that the server draws. Must not decide anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.console import charts
from api.console.charts import HEIGHT, WIDTH
from api.console.reports import words

#: Room above the scale of agreement for its marks.
_SCALE_HEIGHT, _BAR_TOP, _BAR_BOTTOM = 30, 8, 22
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Axis:
    """What stands below a chart, from left to right."""

    left: str
    middle: str
    right: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """One chart: paths by their class in the style sheet, and what it shows in words."""

    title: str
    paths: Sequence[tuple[str, str]]
    keys: Sequence[tuple[str, str]]
    axis: Axis
    summary: str
    height: int = HEIGHT


def disagreement(report: Mapping[str, Any]) -> Drawn:
    """Return the share of rows that differ with its interval, beside the margin and the noise floor."""
    found, noise, margin = report["agreement"], report["noise"], report["options"].get("margin", 0.0)
    different, low, high = 1 - found["estimate"], 1 - found["high"], 1 - found["low"]
    most = next(
        each for each in _STEPS if each >= min(1.0, max(high, 1.5 * margin, noise["floor"]["high"] if noise else 0))
    )
    paths = [
        ("calm-bar", _bar(0, margin, most)),
        ("curve", f"M{_x(low, most)} 15H{_x(high, most)}M{_x(low, most)} 9V21M{_x(high, most)} 9V21"),
        ("curve thick", f"M{_x(different, most)} {_BAR_TOP}V{_BAR_BOTTOM}"),
    ]
    keys = [("curve", "differ"), ("calm-bar", "margin")]
    summary = f"{words.percent(different)} of the rows differ, between {words.percent(low)} and {words.percent(high)}."
    if noise:
        floor = noise["floor"]
        paths.append(("high-curve", f"M{_x(floor['low'], most)} 26H{_x(floor['high'], most)}"))
        keys.append(("high-curve", "noise floor"))
        summary += f" The noise floor is {words.percent(floor['estimate'])}."
    axis = Axis("0 %", "rows that differ, 95 % interval", words.percent(most))
    return Drawn("Rows that differ", paths, keys, axis, summary, _SCALE_HEIGHT)


def differences(numbers: Mapping[str, Any]) -> Drawn | None:
    """Return the distribution of the differences of a field's numbers."""
    histogram = numbers["histogram"]
    if histogram is None:
        return None
    counts, edges = histogram["counts"], histogram["edges"]
    middle = numbers["mean_difference"]
    paths = [("bar", charts.bars(counts, max(counts)))]
    if edges[0] < 0 < edges[-1]:
        x = -edges[0] / (edges[-1] - edges[0]) * WIDTH
        paths.append(("high-curve", f"M{x:.1f} 0V{HEIGHT}"))
    summary = f"The candidate answers {words.figure(abs(middle))} {'more' if middle >= 0 else 'less'} on average."
    keys = [("bar", "values"), *([("high-curve", "no difference")] if len(paths) > 1 else [])]
    axis = Axis(words.figure(edges[0]), "candidate minus stable", words.figure(edges[-1]))
    return Drawn("Differences", paths, keys, axis, summary)


def calibration(truths: Mapping[str, Any]) -> Drawn | None:
    """Return the share of true rows by probability, of both versions."""
    found = [(name, truths[f"{name}_calibration"]) for name in ("stable", "candidate")]
    known = [(name, each) for name, each in found if each is not None]
    if not known:
        return None
    styles = {"stable": "high-curve", "candidate": "curve"}
    paths = [("base", f"M0 {HEIGHT}L{WIDTH} 0"), *((styles[name], _curve(each["bins"])) for name, each in known)]
    errors = ", ".join(f"{name} {words.percent(each['expected_error'])}" for name, each in known)
    axis = Axis("0 %", "probability; diagonal: as often true", "100 %")
    summary = f"Expected calibration error: {errors}."
    return Drawn("Calibration", paths, [(styles[name], name) for name, _ in known], axis, summary)


def _curve(bins: Sequence[Mapping[str, Any]]) -> str:
    points = [f"{each['mean_probability'] * WIDTH:.1f} {(1 - each['share_true']) * HEIGHT:.1f}" for each in bins]
    return "M" + "L".join(points) if len(points) > 1 else "".join(f"M{each}h0" for each in points)


def _bar(low: float, high: float, most: float) -> str:
    return f"M{_x(low, most)} {_BAR_BOTTOM}V{_BAR_TOP}H{_x(high, most)}V{_BAR_BOTTOM}z"


def _x(share: float, most: float) -> str:
    return f"{min(1.0, share / most) * WIDTH:.1f}"
