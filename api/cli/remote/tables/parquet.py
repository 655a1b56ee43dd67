"""Reads and writes Parquet files, a part at a time, with pyarrow where it is installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from api.cli.remote.tables.csv_source import TableUnreadable
from api.client.tables.predictions import ERROR

_ROWS_READ = 1_000
_ROWS_WRITTEN = 20_000


def _library() -> Any:
    try:
        import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise click.UsageError(
            "Parquet files need pyarrow, which is not installed here: pip install pyarrow."
        ) from error
    return import_module("pyarrow")


class ParquetSource:
    """The rows of a Parquet file.

    Attributes:
        header: the names of the columns.
    """

    texts = False
    hint = ""

    def __init__(self, path: Path) -> None:
        """Open a file. Raises click.UsageError without pyarrow, TableUnreadable."""
        library = _library()
        try:
            self._file = library.parquet.ParquetFile(path)
        except (OSError, library.ArrowException) as error:
            raise TableUnreadable(f"{path} is no Parquet file: {error}") from error
        self.header: list[str] = list(self._file.schema_arrow.names)

    def rows(self) -> Iterator[Sequence[Any]]:
        """Yield the rows."""
        for batch in self._file.iter_batches(batch_size=_ROWS_READ):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetWriter:
    """Writes rows; the first part decides the types of the columns."""

    def __init__(self, path: Path) -> None:
        self._library = _library()
        self._path = path
        self._writer: Any = None
        self._rows: list[Sequence[Any]] = []
        self._header: Sequence[str] = ()

    def begin(self, header: Sequence[str]) -> None:
        """Take the names of the columns."""
        self._header = header

    def write(self, row: Sequence[Any]) -> None:
        """Write a row, with others."""
        self._rows.append(row)
        if len(self._rows) == _ROWS_WRITTEN:
            self.flush()

    def flush(self) -> None:
        """Write what there is. Raises TableUnreadable for values of a type that the column has not."""
        columns = list(zip(*self._rows, strict=True)) or [()] * len(self._header)
        self._rows = []
        try:
            table = self._library.table(list(map(self._array, self._header, columns)), names=list(self._header))
            if self._writer is None:
                self._writer = self._library.parquet.ParquetWriter(self._path, table.schema)
            self._writer.write_table(table.cast(self._writer.schema))
        except self._library.ArrowException as error:
            raise TableUnreadable(f"{self._path} can't hold these predictions: {error} Write a .csv file.") from error

    def close(self) -> None:
        """Write the rest, and close the file."""
        if self._rows or self._writer is None:
            self.flush()
        self._writer.close()

    def _array(self, name: str, column: Sequence[Any]) -> Any:
        found = self._library.array(column, type=self._library.string() if name == ERROR else None)
        return found.cast(self._library.float64()) if found.type == self._library.null() else found
