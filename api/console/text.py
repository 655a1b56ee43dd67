"""Formats values for the console's pages, with units and few digits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from registry.signatures.layout import Kind
from workers.jobs.endings.outbox import without_secrets

NOTHING = "–"
#: A longer value is shown as far as this; the HTTP API has all of it.
_LONGEST = 20_000
#: The end of a value that is longer.
CUT = "\n…"
_WIDTH, _HEIGHT = 120, 24
_NARROW = 88
_BRIEF = 72


def count(value: float | None) -> str:
    """Return a whole number with its thousands apart."""
    return NOTHING if value is None else f"{value:,.0f}".replace(",", "\u202f")


def per_s(value: float | None) -> str:
    """Return a rate; the unit stands in the heading."""
    if value is None:
        return NOTHING
    return count(value) if value >= 100 or value == 0 else f"{value:.1f}"


def ms(value: float | None) -> str:
    """Return a duration that was measured in ms, in ms or s."""
    if value is None:
        return NOTHING
    if value >= 1_000:
        return duration(value / 1_000)
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def duration(seconds: float | None) -> str:
    """Return seconds in a readable unit."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, size, until in (("s", 1, 100), ("min", 60, 6_000), ("h", 3_600, 172_800)):
        if seconds < until:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def ago(moment: str | float | None) -> str:
    """Return how long ago a time was: ISO 8601, or seconds since the epoch."""
    if moment is None:
        return NOTHING
    then = datetime.fromisoformat(moment) if isinstance(moment, str) else datetime.fromtimestamp(moment, UTC)
    passed_s = (datetime.now(UTC) - then).total_seconds()
    return "just now" if passed_s < 1 else f"{duration(passed_s)} ago"


def ahead(moment: str) -> str:
    """Return the time until the next try: ISO 8601."""
    left_s = (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()
    return "is due" if left_s < 1 else f"next try in {duration(left_s)}"


def size(value: float | None) -> str:
    """Return bytes in MB and the like."""
    if value is None:
        return NOTHING
    for unit, each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= each:
            return f"{value / each:.1f} {unit}" if value < 10 * each else f"{value / each:.0f} {unit}"
    return f"{value:.0f} B"


def share(value: float | None) -> str:
    """Return a share in percent."""
    if value is None:
        return NOTHING
    if value == 0 or value >= 0.1:
        return f"{value * 100:.0f} %"
    return f"{max(value * 100, 0.1):.1f} %"


def measure(value: float | None) -> str:
    """Return a measure without a unit, to four digits."""
    return NOTHING if value is None else f"{value:.4g}"


def json_lines(value: Any) -> str:
    """Return JSON on as few lines as can be read."""
    short = json.dumps(value, ensure_ascii=False)
    found = short if len(short) <= _NARROW else json.dumps(value, ensure_ascii=False, indent=2)
    return found if len(found) <= _LONGEST else f"{found[:_LONGEST]}{CUT}"


def brief(value: Any) -> str:
    """Return the beginning of a value as one line of JSON."""
    found = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found if len(found) <= _BRIEF else f"{found[: _BRIEF - 1]}…"


def word(name: str) -> str:
    """Return a field's name as words, with its unit apart."""
    for ending, unit in (("_ms", " (ms)"), ("_s", " (s)"), ("_mb", " (MiB)"), ("_at", "")):
        if name.endswith(ending):
            return word(name.removesuffix(ending)) + unit
    return name.replace("_", " ").capitalize().replace(" url", " URL").replace(" ttl", " TTL")


def prose(plain: str) -> Markup:
    """Return a text in which `words` between backticks are code."""
    pieces = [escape(each) for each in plain.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(each) if place % 2 else each for place, each in enumerate(pieces)
    )


def signature(document: Mapping[str, Any]) -> str:
    """Return what a model takes, in words."""
    if document["kind"] == Kind.NAMED:
        fields = ", ".join(f"{name}: {_values(each)}" for name, each in document["fields"].items())
        return f"an object with {fields}"
    return _values(document)


def _values(described: Mapping[str, Any]) -> str:
    lengths = [f"{each}" if each is not None else "any" for each in described["shape"]]
    return f"{described['dtype']}[{' × '.join(lengths)}]" if lengths else str(described["dtype"])


def polyline(points: Sequence[float | None]) -> str:
    """Return the points of an SVG line over a box of 120 × 24; empty if there are too few."""
    known = [(index, value) for index, value in enumerate(points) if value is not None]
    if len(known) < 2:
        return ""
    top = max(value for _, value in known) or 1.0
    step = _WIDTH / (len(points) - 1)
    return " ".join(f"{index * step:.1f},{_HEIGHT - 1 - value / top * (_HEIGHT - 3):.1f}" for index, value in known)


FILTERS: Mapping[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        without_secrets,
        count,
        per_s,
        ms,
        duration,
        ago,
        ahead,
        size,
        share,
        measure,
        json_lines,
        brief,
        word,
        prose,
        signature,
        polyline,
    )
}
