"""How far a `map` is, on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_REFRESHES_A_S = 8


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
        self._bar: Bar | None = None
        self._failed = 0

    def __enter__(self) -> Self:
        if self._shown:
            self._bar = _bar()
            self._task = self._bar.add_task(self._title, total=self._total, failed="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def ended(self, *, failed: bool) -> None:
        """Count a job that has ended."""
        self._failed += failed
        if self._bar is not None:
            self._bar.update(self._task, advance=1, failed=f"{self._failed} failed" if self._failed else "")


def _bar() -> Bar:
    # Late: programs without a terminal need none of it.
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
