"""Runs that were interrupted: what they were called, and how far their files got.

Beside an output there is a file `<output>.run` until the run is finished. It has the name from which the idempotency
keys are made, so that jobs that were submitted and not written yet are found again, and not predicted twice.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from api.cli.remote.tables import csv_files
from api.client.tables.predictions import ERROR


@dataclass(frozen=True)
class Progress:
    """How far a run has got: the rows that are written, and how many of them have no prediction."""

    key: str
    rows: int = 0
    failed: int = 0
    #: The names of the output's columns; None if there is none yet.
    header: Sequence[str] | None = None


def _progress_path(output: Path) -> Path:
    return output.with_name(f"{output.name}.run")


def begin(output: Path, run: Mapping[str, Any]) -> Progress:
    """Note that a run begins. Raises click.UsageError if another one, into the same file, is not finished."""
    path = _progress_path(output)
    if path.exists():
        raise click.UsageError(f"{output} is not finished: add --resume to go on, or delete {path} to begin again.")
    key = str(uuid.uuid4())
    path.write_text(json.dumps({**run, "key": key}), encoding="utf-8")
    return Progress(key)


def found(output: Path, errors: Path | None, delimiter: str, run: Mapping[str, Any]) -> Progress | None:
    """Return how far a run has got, after removing what is torn; None if there is no unfinished one.

    Raises:
        click.UsageError: the run was another one.
    """
    path = _progress_path(output)
    if not path.exists():
        return None
    before = json.loads(path.read_text(encoding="utf-8"))
    key = before.pop("key")
    for name, value in run.items():
        if before.get(name) != value:
            what = name.replace("_", " ")
            raise click.UsageError(f"{output} was begun with another {what}: {before.get(name)}, not {value}.")
    rows, failed, header = _cut_output(output, delimiter)
    if errors is not None:
        failed = _cut_errors(errors, delimiter, rows)
    return Progress(key, rows, failed, header)


def _cut_output(output: Path, delimiter: str) -> tuple[int, int, list[str] | None]:
    header, rows, failed, end = None, 0, 0, 0
    if output.exists():
        for row, after in csv_files.whole_rows(output, delimiter):
            end = after
            if header is None:
                header = row
            else:
                rows += 1
                failed += header[-1] == ERROR and bool(row[-1])
        csv_files.cut(output, end)
    return rows, failed, header


def _cut_errors(errors: Path, delimiter: str, rows: int) -> int:
    """Remove the errors of rows that are not in the output; return how many are left."""
    failed, end = 0, 0
    if errors.exists():
        for number, (row, after) in enumerate(csv_files.whole_rows(errors, delimiter)):
            if number and int(row[0]) > rows:
                break
            failed, end = number, after
        csv_files.cut(errors, end)
    return failed


def finish(output: Path) -> None:
    """Note that the run is finished."""
    _progress_path(output).unlink(missing_ok=True)
