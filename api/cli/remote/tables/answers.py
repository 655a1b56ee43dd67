"""The predictions of a table's rows as a table: its columns are those of the first prediction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from api.client import ClientError
from api.client.tables.predictions import ERROR, PREDICTION, cells_of, message_of

#: So many rows without a prediction wait for the first one, which names the columns.
_ROWS_HELD = 10_000


class Writer(Protocol):
    """Where rows go."""

    def begin(self, header: Sequence[str]) -> None:
        """Take the names of the columns."""

    def write(self, row: Sequence[Any]) -> None:
        """Write a row."""

    def flush(self) -> None:
        """Write what there is."""

    def close(self) -> None:
        """Write the rest, and close."""


class Answers:
    """Writes a row for each row of a table, in their order.

    Args:
        writer: where they go.
        errors: where rows without a prediction go, with their numbers and all their cells; None: into a column.
        kept: the names of the table's columns that are copied.
        header: that of a file that is gone on with.
    """

    def __init__(
        self, writer: Writer, errors: Writer | None, kept: Sequence[str], header: Sequence[str] | None = None
    ) -> None:
        self._writer = writer
        self._errors = errors
        self._kept = list(kept)
        #: Rows without a prediction before the first one with one: number, cells, error.
        self._held: list[tuple[int, Sequence[Any], str]] = []
        #: The names of a prediction's cells by their columns; None before the first one.
        self._names: dict[str, str] | None = None
        self.rows = self.failed = 0
        if header is not None:
            names = header[len(self._kept) :]
            self._names = {self._name_of(each): each for each in (names if errors else names[:-1])}

    def add(self, number: int, row: Sequence[Any], result: Any) -> None:
        """Write the prediction of a row, or its error."""
        self.rows += 1
        if isinstance(result, ClientError):
            self.failed += 1
            self._add_error(number, row, message_of(result))
            return
        cells = cells_of(result)
        names = self._begun(list(cells))
        if not cells.keys() <= names.keys():
            if list(names) != [PREDICTION]:
                self.failed += 1
                self._add_error(
                    number, row, f"The prediction has {_listed(cells)}; the first one had {_listed(names)}."
                )
                return
            cells = {PREDICTION: json.dumps(result, ensure_ascii=False)}
        self._write(row, cells)

    def finish(self) -> None:
        """Write what was held back."""
        self._begun([PREDICTION])
        self._writer.flush()

    def _add_error(self, number: int, row: Sequence[Any], error: str) -> None:
        if self._names is None and len(self._held) < _ROWS_HELD:
            self._held.append((number, row, error))
            return
        self._begun([PREDICTION])
        self._write_error(number, row, error)

    def _begun(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the columns; write their names, and what was held back, if these are the first."""
        if self._names is None:
            self._names = {name: self._column_of(name) for name in names}
            error = [] if self._errors else [ERROR]
            self._writer.begin([*self._kept, *self._names.values(), *error])
            for held in self._held:
                self._write_error(*held)
            self._held = []
        return self._names

    def _column_of(self, name: str) -> str:
        """Return the column of a prediction's cell: not one that the table has, too, or that says errors."""
        return f"predicted.{name}" if name in (*self._kept, ERROR) else name

    def _name_of(self, column: str) -> str:
        name = column.removeprefix("predicted.")
        return name if self._column_of(name) == column else column

    def _write(self, row: Sequence[Any], cells: Mapping[str, Any], error: str | None = None) -> None:
        found = [cells.get(name) for name in self._names or ()]
        self._writer.write([*(row if self._kept else ()), *found, *(() if self._errors else (error,))])

    def _write_error(self, number: int, row: Sequence[Any], error: str) -> None:
        self._write(row, {}, error)
        if self._errors is not None:
            self._errors.write([number, *row, error])


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "no columns"
