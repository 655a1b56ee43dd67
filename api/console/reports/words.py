"""Figures of reports as texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.console import text

VERDICTS: Mapping[str, str] = {
    "same": "The candidate answers the same",
    "differs": "The candidate answers differently",
    "inconclusive": "The jobs are too few to decide",
    "better": "The candidate is better",
    "worse": "The candidate is worse",
}


def percent(share: float | None) -> str:
    """Return a share in percent, with two digits below 1 %."""
    if share is None:
        return text.NOTHING
    value = 100 * share
    return f"{value:.0f} %" if value in (0, 100) else f"{value:.2f} %" if abs(value) < 1 else f"{value:.1f} %"


def change(estimate: Mapping[str, Any]) -> str:
    """Return a change of a share in percentage points, with its interval."""
    low, high = (f"{100 * estimate[each]:+.1f}" for each in ("low", "high"))
    return f"{100 * estimate['estimate']:+.1f} ({low} to {high})"


def figure(value: float | None) -> str:
    """Return a number with four digits."""
    return text.NOTHING if value is None else f"{value:.4g}"


def p_value(value: float) -> str:
    """Return the p-value of a test."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


FILTERS = {"percent": percent, "change": change, "figure": figure, "p_value": p_value}
