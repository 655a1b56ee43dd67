"""Predicts the rows of a table: as many at a time as the service takes, written in their order as they come."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import click

from api.cli.client import Client
from api.cli.errors import CliError, JobUnsuccessful
from api.cli.output import Output
from api.cli.remote.tables import csv_files, unfinished
from api.cli.remote.tables.answers import Answers, Writer
from api.cli.remote.tables.csv_files import CsvWriter
from api.cli.remote.tables.csv_source import CsvSource
from api.cli.remote.tables.options import STDIN, TableOptions
from api.cli.remote.tables.parquet import ParquetSource, ParquetWriter
from api.cli.remote.tables.unfinished import Progress
from api.client import ColumnsWrong, InputInvalid
from api.client.options import INPUTS_A_KEY
from api.client.tables.columns import Columns
from api.client.tables.frames import ROWS_AT_ONCE
from api.client.tables.predictions import ERROR

_NAMES_SHOWN = 10
Row = Sequence[Any]


def predict_table(
    client: Client, output: Output, endpoint_name: str, options: TableOptions, own: Mapping[str, Any]
) -> None:
    """Predict each row of a table, and write the predictions; `own` are options of the client's `map`.

    Raises:
        JobUnsuccessful: some rows have no prediction.
        TableUnreadable: the table can't be read to its end.
    """
    if output.as_json and options.to is None:
        raise click.UsageError("--json shows how it went: name the file of the predictions with --output.")
    if options.to is not None and str(options.to) == options.name:
        raise click.UsageError(f"{options.to} is the table itself: name another --output.")
    began = time.monotonic()
    with ExitStack() as closing:
        source = _source(options)
        closing.callback(source.close)
        columns = _columns(client, endpoint_name, source, options)
        progress = _progress(options, endpoint_name)
        if progress is None:
            output.note(f"{options.to} is finished: there is nothing to go on with.")
            return
        if source.hint:
            output.note(source.hint.strip())
        if columns.ignored:
            output.note(f"Columns that the input has no place for: {_listed(columns.ignored)}.")
        run = _Run(client, endpoint_name, _Table(source, columns), progress)
        run.write(_answers(options, source, progress, closing), options, own, output)
    if options.to is not None:
        unfinished.finish(options.to)
    _show(output, options, run.answers, time.monotonic() - began)


class Source(Protocol):
    """A table: the names of its columns and its rows, whose cells are texts or values."""

    header: list[str]
    texts: bool

    @property
    def hint(self) -> str:
        """What may be wrong with how it is read."""

    def rows(self) -> Iterator[Row | InputInvalid]:
        """Yield the rows; one that is none is an error in its place."""

    def close(self) -> None:
        """Close the file."""


def _source(options: TableOptions) -> Source:
    if options.parquet is not None:
        return ParquetSource(options.parquet)
    return CsvSource(options.csv or STDIN, options.delimiter, has_header=options.header)


def _progress(options: TableOptions, endpoint_name: str) -> Progress | None:
    """Return where to begin; None if there is nothing to do."""
    if options.to is None or options.to.suffix == ".parquet":
        return Progress("")
    run = options.run(endpoint_name)
    if options.resume:
        found = unfinished.found(options.to, options.errors, options.delimiter, run)
        if found is not None or options.to.exists():
            return found
    return unfinished.begin(options.to, run)


def _columns(client: Client, endpoint_name: str, source: Source, options: TableOptions) -> Columns:
    signature = client.signature(endpoint_name)
    try:
        return Columns(signature, source.header, options.chosen, texts=source.texts)
    except ColumnsWrong as error:
        choose = "" if "fields" in signature or options.columns else " --columns A,B,… chooses some."
        raise click.UsageError(f"{options.name}: {error}{source.hint or choose}") from error


def _answers(options: TableOptions, source: Source, progress: Progress, closing: ExitStack) -> Answers:
    goes_on = progress.header is not None
    writer = _writer(options, goes_on=goes_on)
    if options.to is not None:
        closing.callback(writer.close)
    errors: CsvWriter | None = None
    if options.errors is not None:
        errors = _csv(options.errors, options, goes_on=goes_on)
        closing.callback(errors.close)
        if not goes_on or not options.errors.stat().st_size:
            errors.begin(["row", *source.header, ERROR])
    answers = Answers(writer, errors, source.header if options.keep_columns else (), progress.header)
    answers.rows, answers.failed = progress.rows, progress.failed
    return answers


def _writer(options: TableOptions, *, goes_on: bool) -> Writer:
    if options.to is None:
        return CsvWriter(sys.stdout, options.delimiter)
    if options.to.suffix == ".parquet":
        return ParquetWriter(options.to)
    return _csv(options.to, options, goes_on=goes_on)


def _csv(path: Path, options: TableOptions, *, goes_on: bool) -> CsvWriter:
    try:
        return CsvWriter(csv_files.opened(path, append=goes_on), options.delimiter)
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from error


class _Table:
    """The rows of a source as inputs; remembers them until their predictions are there."""

    def __init__(self, source: Source, columns: Columns) -> None:
        self._source = source
        self._columns = columns
        self._rows: deque[Row] = deque()

    def inputs(self, first: int) -> Iterator[Any]:
        """Yield the inputs from a row on."""
        nothing = ("",) * len(self._source.header)
        rows: Iterator[Row | InputInvalid] = islice(self._source.rows(), first, None)
        for row in rows:
            if isinstance(row, InputInvalid):
                self._rows.append(nothing)
                yield row
            else:
                self._rows.append(row)
                yield self._columns.input_of(row)

    def next_row(self) -> Row:
        """Return the row of the next prediction."""
        return self._rows.popleft()


class _Run:
    def __init__(self, client: Client, endpoint_name: str, table: _Table, progress: Progress) -> None:
        self._client = client
        self._endpoint_name = endpoint_name
        self._table = table
        self._progress = progress
        self.answers: Answers

    def write(self, answers: Answers, options: TableOptions, own: Mapping[str, Any], output: Output) -> None:
        """Write the prediction of every row that is not written yet."""
        self.answers = answers
        first = self._progress.rows // INPUTS_A_KEY * INPUTS_A_KEY
        named = {"idempotency_key": self._progress.key, "first_index": first} if self._progress.key else {}
        how = {"on_error": "return", "inputs_a_job": options.rows_a_job, "window": ROWS_AT_ONCE, **named, **own}
        how |= {"progress": False} if output.as_json else {}
        results = self._client.map(self._endpoint_name, self._table.inputs(first), **how)
        try:
            for number, result in enumerate(results, first + 1):
                row = self._table.next_row()
                if number > self._progress.rows:
                    answers.add(number, row, result)
            answers.finish()
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            raise CliError(f"{options.to or 'stdout'} can't be written: {error.strerror}.") from error
        except (CliError, KeyboardInterrupt):
            if options.to is not None and self._progress.key:
                output.note(f"{answers.rows} rows are in {options.to}; the same command with --resume goes on.")
            raise


def _show(output: Output, options: TableOptions, answers: Answers, seconds: float) -> None:
    if output.as_json:
        output.document({"rows": answers.rows, "failed": answers.failed, "output": str(options.to)})
    to = f" are in {options.to}" if options.to is not None else ""
    output.note(f"{answers.rows:,} rows{to}, after {seconds:.1f} s.")
    if answers.failed:
        where = f"{options.errors} has them" if options.errors else "the column error says why"
        raise JobUnsuccessful(
            f"{answers.failed:,} of {answers.rows:,} rows have no prediction; {where}.", {"code": "job_unsuccessful"}
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
