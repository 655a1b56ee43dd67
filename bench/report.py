"""The results as a table for people, as JSON for programs, and in docs/explanation/performance.md between two marks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.summary import PEER, Row, Sample, Spread, rows

BEGIN, END = "<!-- results: begin (written by `make bench`) -->", "<!-- results: end -->"
_COLUMNS = ("queuecast", "tutorial", "floor", "floor 64", PEER)


@dataclass
class Results:
    """What a run has measured so far."""

    about: dict[str, Any]
    samples: list[Sample] = field(default_factory=list)
    #: What was left out, or failed, and why.
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def document(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        summary = [
            {
                "figure": row.metric.title,
                "key": row.metric.key,
                "unit": row.metric.unit,
                "model": row.model,
                "systems": {name: asdict(spread) for name, spread in row.systems.items()},
                "ratio": row.ratio,
                "ratio_to_peer": row.peer_ratio,
                "target": None if row.target is None else str(row.target),
                "met": row.met,
            }
            for row in rows(self.samples)
        ]
        return {**self.about, "notes": self.notes, "summary": summary, "samples": [s._asdict() for s in self.samples]}


def markdown(results: Results) -> str:
    """Return the table, with what was measured where, and the notes."""
    about = results.about
    machine = about["machine"]
    made = (
        f"`{about['command']}`, commit {about['commit']}, {about['date']}: {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB; Python {machine['python']}, Redis {machine['redis']}; "
        f"{about['rounds']} rounds, load {about['load_before']} before it."
    )
    lines = [
        made,
        "",
        *table(rows(results.samples)),
    ]
    lines += ["", *(f"- {note}" for note in results.notes)] if results.notes else []
    return "\n".join(lines)


def table(found: Iterable[Row]) -> list[str]:
    """Return the lines of a markdown table."""
    titles = ["figure", "model", *(_title(name) for name in _COLUMNS), "ratio", "target", "met", f"ratio to {PEER}"]
    return ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|", *map(_line, found)]


def _title(system: str) -> str:
    return f"{system}: median (min–max)" if system in _COLUMNS[:2] else system


def _line(row: Row) -> str:
    cells = [f"{row.metric.title}, {row.metric.unit}", row.model]
    cells += [_cell(row.systems.get(name), ranged=name in _COLUMNS[:2]) for name in _COLUMNS]
    cells += [_times(row.ratio), str(row.target or ""), {None: "", True: "yes", False: "**no**"}[row.met]]
    cells.append(_times(row.peer_ratio))
    return "| " + " | ".join(cells) + " |"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{number(ratio)} ×"


def _cell(spread: Spread | None, *, ranged: bool) -> str:
    if spread is None:
        return ""
    median = number(spread.median)
    return f"{median} ({number(spread.least)}–{number(spread.most)})" if ranged else median


def number(value: float) -> str:
    """Return a number with as many digits as say something."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def read_json(path: Path) -> Results:
    """Return the results of an earlier run, as `write_json` wrote them."""
    document = json.loads(path.read_text(encoding="utf-8"))
    samples = [Sample(**each) for each in document.pop("samples")]
    notes = document.pop("notes")
    del document["summary"]
    return Results(document, samples, notes)


def write_json(results: Results, path: Path) -> None:
    """Write everything, samples too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results.document(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_docs(results: Results, path: Path, more: Sequence[str] = ()) -> None:
    """Put the table between the marks of a page. Raises ValueError if they are not there."""
    put_between(path, BEGIN, END, "\n\n".join([markdown(results), *more]))


def put_between(path: Path, begin: str, end: str, written: str) -> None:
    """Replace the text between two lines of a page. Raises ValueError if a line is missing."""
    text = path.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{path} needs the lines {begin} and {end}, once each.")
    head, tail = text.split(begin)[0], text.split(end)[1]
    path.write_text(f"{head}{begin}\n\n{written}\n\n{end}{tail}", encoding="utf-8")
