"""Reads a CSV file row by row: UTF-8, with or without a byte order mark, lines that end in LF or CRLF."""

from __future__ import annotations

import codecs
import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from api.cli.errors import CliError
from api.client import InputInvalid

#: Longer cells than Python's default, for lists and texts.
_LONGEST_CELL = 16 * 1024 * 1024
_OTHER_DELIMITERS = ";\t|,"


class TableUnreadable(CliError):
    """A table is no CSV, no UTF-8 or no Parquet from some place on."""

    code = "table_unreadable"


class CsvSource:
    """The rows of a CSV file; what its cells hold is text.

    Attributes:
        header: the names of the columns.
    """

    texts = True

    def __init__(self, path: str, delimiter: str, *, has_header: bool) -> None:
        """Open a file, or stdin (`-`). Raises click.UsageError for one without a header, TableUnreadable."""
        self._name = "stdin" if path == "-" else path
        self._file = self._opened(path)
        csv.field_size_limit(_LONGEST_CELL)
        self._lines = csv.reader(self._file, delimiter=delimiter, strict=True)
        self._others = self._rows()
        try:
            first = next(self._others, None)
        except (CliError, click.UsageError):
            self.close()
            raise
        if first is None:
            self.close()
            raise click.UsageError(f"{self._name} is empty: its first line must name the columns.")
        self._first = None if has_header else first
        self.header = first if has_header else [str(number) for number in range(1, len(first) + 1)]
        self._hint = next((each for each in _OTHER_DELIMITERS if each != delimiter and each in first[0]), None)

    @property
    def hint(self) -> str:
        """What to do if the columns are not those that were expected."""
        if len(self.header) > 1 or self._hint is None:
            return ""
        shown = "tab" if self._hint == "\t" else self._hint
        return f" Its lines have {shown!r} in them: is --delimiter {shown!r} meant?"

    def rows(self) -> Iterator[list[str] | InputInvalid]:
        """Yield the rows, without empty lines; a row of another length than the header is an error in its place."""
        if self._first is not None:
            yield self._first
        wanted = len(self.header)
        for row in self._others:
            if len(row) == wanted:
                yield row
            else:
                cells = "cell" if len(row) == 1 else "cells"
                yield InputInvalid(
                    f"Line {self._lines.line_num} has {len(row)} {cells}; the table has {wanted} columns.",
                    code="input_invalid",
                )

    def close(self) -> None:
        """Close the file, but not stdin."""
        if self._name == "stdin":
            self._file.detach()
        else:
            self._file.close()

    def _opened(self, path: str) -> io.TextIOWrapper:
        try:
            file: IO[bytes] = sys.stdin.buffer if path == "-" else Path(path).open("rb")  # noqa: SIM115 - see close
        except OSError as error:
            raise click.UsageError(f"{path}: {error.strerror}") from error
        return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")

    def _rows(self) -> Iterator[list[str]]:
        try:
            yield from filter(None, self._lines)
        except UnicodeDecodeError as error:
            if error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise click.UsageError(f"{self._name} looks like UTF-16: save it as UTF-8.") from error
            line = self._lines.line_num + 1
            raise TableUnreadable(f"{self._name} is not UTF-8 from about line {line} on.") from error
        except csv.Error as error:
            raise TableUnreadable(f"{self._name}, line {self._lines.line_num}: {error}.") from error
