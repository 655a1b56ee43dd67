"""How far a `map` is, on a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from api.client.typing import Self

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_REFRESHES_A_S = 8


class _Bar(Protocol):
    def show(self, ended: int, failed: int) -> None:
        """Show how many jobs have ended, and how many of them without a prediction."""

    def close(self) -> None:
        """Show the last numbers, and leave the terminal as it was."""


class Progress:
    """Counts jobs, and shows a bar on stderr while it is entered, if it is to.

    Args:
        shown: whether; None: if stderr is a terminal.
        total: how many jobs there will be, if that is known.
    """

    def __init__(self, title: str, *, shown: bool | None, total: int | None) -> None:
        self._title = title
        self._total = total
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._bar: _Bar | None = None
        self._ended = self._failed = 0

    def __enter__(self) -> Self:
        if self._shown:
            self._bar = _bar(self._title, self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def ended(self, *, failed: bool) -> None:
        """Count a job that has ended."""
        self._ended += 1
        self._failed += failed
        if self._bar is not None:
            self._bar.show(self._ended, self._failed)


def _bar(title: str, total: int | None) -> _Bar:
    # Late: programs without a terminal need none of it.
    try:
        return _RichBar(title, total)
    except ImportError:
        return _Line(title, total)


class _Line:
    """A line of text with the numbers, where rich is not installed."""

    def __init__(self, title: str, total: int | None) -> None:
        self._title = title
        self._total = "?" if total is None else str(total)
        self._text = ""
        self._width = 0
        self._written_at = 0.0
        self.show(0, 0)

    def show(self, ended: int, failed: int) -> None:
        """Show the numbers, unless the line has only just been written."""
        self._text = f"{self._title} {ended}/{self._total}" + (f", {failed} failed" if failed else "")
        if time.monotonic() - self._written_at >= 1 / _REFRESHES_A_S:
            self._write()

    def close(self) -> None:
        """End the line with the last numbers."""
        self._write("\n")

    def _write(self, end: str = "") -> None:
        self._written_at = time.monotonic()
        self._width = max(self._width, len(self._text))
        sys.stderr.write(f"\r{self._text:{self._width}}{end}")
        sys.stderr.flush()


class _RichBar:
    """A bar of rich."""

    def __init__(self, title: str, total: int | None) -> None:
        self._progress = _rich_progress()
        self._task = self._progress.add_task(title, total=total, failed="")
        self._progress.start()

    def show(self, ended: int, failed: int) -> None:
        """Move the bar; rich draws it now and then."""
        self._progress.update(self._task, completed=ended, failed=f"{failed} failed" if failed else "")

    def close(self) -> None:
        """Draw the bar for the last time."""
        self._progress.stop()


def _rich_progress() -> RichProgress:
    from rich import progress
    from rich.console import Console

    columns = [
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("[red]{task.fields[failed]}"),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    ]
    return progress.Progress(
        *columns,
        console=Console(stderr=True),
        refresh_per_second=_REFRESHES_A_S,
        # What the caller prints stands above the bar, unless it goes somewhere else: then it is left alone.
        redirect_stdout=sys.stdout.isatty(),
    )
