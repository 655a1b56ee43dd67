"""What a command shows: tables for people, JSON for programs; results on stdout, everything else on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.cli.errors import CliError
from workers.platform.texts import json_text, lines, one_line

_STYLES = {
    "active": "green", "succeeded": "green", "ready": "green", "asleep": "green", "loading": "yellow",
    "building environment": "yellow",
    "deploying": "yellow", "degraded": "yellow", "draining": "yellow", "queued": "yellow", "running": "yellow",
    "failed": "red", "expired": "red", "cancelled": "dim", "parked": "dim", "unavailable": "red",
}  # fmt: skip
_NO_ESTIMATE = {"no_ready_worker": "no worker is ready", "parked": "parked", "loading": "loading the model"}
#: Columns of what is no terminal: wide enough that nothing is folded.
_PIPE_WIDTH = 1_000
#: Between two columns.
_GAP = "  "


class Progress(Protocol):
    """Tells what is being waited for."""

    def __call__(self, text: str) -> None:
        """Show `text` instead of what was shown before."""


class Output:
    """Where results, progress and errors of one command go.

    Args:
        as_json: one JSON document on stdout and nothing decorative.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(highlight=False, soft_wrap=True)
        if not self._out.is_terminal:
            # Folded, a table is of no use to grep.
            self._out.width = _PIPE_WIDTH
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)

    def document(self, document: Any) -> None:
        """Show a document as JSON."""
        click.echo(to_json(document, indent=2 if self._out.is_terminal else None))

    def line(self, text: str) -> None:
        """Show a line of the result."""
        self._out.print(lines(text), markup=False)

    def note(self, text: str) -> None:
        """Tell a person something beside the result."""
        if not self.as_json:
            self._err.print(lines(text), style="dim", markup=False)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
        """Show rows; if there are none, say `empty`."""
        found = [[cell(value) for value in row] for row in rows]
        if not found:
            self.note(empty)
            return
        rows = [[Text(column, style="bold") for column in columns], *found]
        widths = [max(each.cell_len for each in column) for column in zip(*rows, strict=True)]
        if sum(widths) + len(_GAP) * (len(widths) - 1) <= self._out.width:
            self._rows(rows, widths)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in found:
            table.add_row(*row)
        self._columns(table)

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Show names and values below each other; what is None is left out."""
        grid = Table.grid(padding=(0, 2))
        for name, value in facts.items():
            if value is not None:
                grid.add_row(Text(name, style="bold"), cell(value))
        self._columns(grid)

    def error(self, error: CliError) -> None:
        """Show why the command ends, on stderr."""
        if self.as_json:
            click.echo(to_json(error.document), err=True)
            return
        self._err.print(Text.assemble(("Error: ", "bold red"), lines(str(error))))
        for each in error.document.get("errors") or []:
            if isinstance(each, dict) and len(error.document["errors"]) > 1:
                self._err.print(lines(f"  {each.get('field')}: {each.get('message')}"), markup=False)
        named = [f"{name}={error.document[name]}" for name in ("code", "request_id") if error.document.get(name)]
        self._err.print(one_line("  ".join(named)), style="dim", markup=False)

    def _rows(self, rows: Sequence[Sequence[Text]], widths: Sequence[int]) -> None:
        """Print a table that fits: `rich` takes the most of a second for a thousand rows, to see whether they do."""
        if not self._out.is_terminal:
            plain = (_GAP.join(_padded(each, width) for each, width in zip(row, widths, strict=True)) for row in rows)
            click.echo("\n".join(line.rstrip() for line in plain))
            return
        text = Text()
        for row in rows:
            for each, width in zip(row[:-1], widths, strict=False):
                text.append(each.plain, each.style).append(" " * (width - each.cell_len) + _GAP)
            text.append(row[-1].plain, row[-1].style).append("\n")
        self._out.print(text, end="")

    def _columns(self, table: Table) -> None:
        """Print a table; in a pipe without the blanks that fill its last column."""
        if self._out.is_terminal:
            self._out.print(table, soft_wrap=False, crop=False)
            return
        with self._out.capture() as captured:
            self._out.print(table, soft_wrap=False, crop=False)
        for line in captured.get().splitlines():
            click.echo(line.rstrip())

    @contextmanager
    def progress(self, text: str) -> Iterator[Progress]:
        """Show a spinner on a terminal while the block runs; yields what changes its text."""
        if self.as_json or not self._err.is_terminal:
            yield lambda _text: None
            return
        with self._err.status(Text(one_line(text))) as status:
            yield lambda text: status.update(Text(one_line(text)))


def _padded(text: Text, width: int) -> str:
    return text.plain + " " * (width - text.cell_len)


def to_json(value: Any, indent: int | None = None) -> str:
    """Return JSON for people, without characters that control the terminal."""
    return json_text(json.dumps(value, ensure_ascii=False, indent=indent))


def cell(value: Any) -> Text:
    """Return a value as a table shows it."""
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, bool | dict | list):
        return Text(to_json(value))
    if isinstance(value, float):
        return Text(f"{value:,.1f}")
    text = one_line(str(value))
    return Text(text, style=_STYLES.get(text, ""))


def local_time(iso: str | None) -> str | None:
    """Return a time of the API in the reader's time zone, to the second."""
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M:%S") if iso else None


def seconds_between(start: str | None, end: str | None) -> str | None:
    """Return how long it took from one time of the API to another."""
    if not start or not end:
        return None
    return f"{(datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds():.3f} s"


def queue_position(job: Mapping[str, Any]) -> str | None:
    """Return the queue position of a job, e.g. "12 ahead, about 3 s"; None without one."""
    queue = job.get("queue")
    if queue is None:
        return None
    ahead, wait_s = f"{queue['position']} ahead", queue.get("estimated_wait_s")
    if wait_s is not None:
        loads = ", loading the model" if queue.get("reason") == "loading" else ""
        return f"{ahead}, {_roughly(wait_s)}{loads}"
    why = _NO_ESTIMATE.get(queue.get("reason"))
    return f"{ahead}, {why}" if why else ahead


def _roughly(seconds: float) -> str:
    if seconds < 1:
        return "less than 1 s"
    return f"about {seconds:.0f} s" if seconds < 100 else f"about {seconds / 60:.0f} min"


def size(size_bytes: int | None) -> str | None:
    """Return a size with a unit that reads well."""
    if size_bytes is None:
        return None
    amount, units = float(size_bytes), ["B", "KiB", "MiB", "GiB"]
    while amount >= 1024 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{amount:.0f} {units[0]}" if units[0] == "B" else f"{amount:.1f} {units[0]}"
