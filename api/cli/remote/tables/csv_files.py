"""Writes CSV, and finds how far a file got that was not finished: its last whole row."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

_ROWS_A_FLUSH = 1_000


class CsvWriter:
    """Writes rows to a text file; what is written is in the file after every so many rows, and at the end."""

    def __init__(self, file: IO[str], delimiter: str) -> None:
        self._file = file
        self._writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        self._written = 0

    def begin(self, header: Sequence[str]) -> None:
        """Write the names of the columns."""
        self._writer.writerow(header)

    def write(self, row: Sequence[Any]) -> None:
        """Write a row."""
        self._writer.writerow(map(_cell, row))
        self._written += 1
        if self._written % _ROWS_A_FLUSH == 0:
            self._file.flush()

    def flush(self) -> None:
        """Have the file hold what was written."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _cell(value: Any) -> Any:
    """Return a value as CSV has it: truth values and lists as JSON, null as an empty cell."""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value


def opened(path: Path, *, append: bool = False) -> IO[str]:
    """Open a file to write CSV. Raises OSError."""
    return path.open("a" if append else "w", encoding="utf-8", newline="")


def whole_rows(path: Path, delimiter: str) -> Iterator[tuple[list[str], int]]:
    """Yield the rows of a file that `CsvWriter` has written, each with the place of its end, without a torn last one.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        record, end, quotes = b"", 0, 0
        for line in file:
            record += line
            end += len(line)
            quotes += line.count(b'"')
            if quotes % 2 == 0 and line.endswith(b"\n"):
                text = io.StringIO(record.decode(), newline="")
                yield next(csv.reader(text, delimiter=delimiter)), end
                record, quotes = b"", 0


def cut(path: Path, size_bytes: int) -> None:
    """Remove what is behind a place in a file."""
    os.truncate(path, size_bytes)
