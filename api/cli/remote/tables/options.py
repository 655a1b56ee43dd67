"""The options of `queuecast predict` for tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import click

from api.client.tables.frames import ROWS_A_JOB

Command = Callable[..., None]
STDIN = "-"
_ONE_CHARACTER = {"tab": "\t", "\\t": "\t"}


class Delimiter(click.ParamType[str]):
    """One character, or `tab`."""

    name = "CHARACTER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the character."""
        found = _ONE_CHARACTER.get(str(value), str(value))
        if len(found) != 1 or found in '"\r\n':
            self.fail(f"{value!r} is not one character, or `tab`", param, ctx)
        return found


@dataclass(frozen=True)
class TableOptions:
    """How a table is read, and where its predictions go."""

    csv: str | None
    parquet: Path | None
    to: Path | None
    resume: bool
    errors: Path | None
    delimiter: str
    header: bool
    columns: str | None
    keep_columns: bool
    rows_a_job: int

    @classmethod
    def taken_from(cls, arguments: dict[str, Any]) -> Self:
        """Take these options out of a command's arguments."""
        return cls(**{each.name: arguments.pop(each.name) for each in fields(cls)})

    @property
    def name(self) -> str:
        """What the table is called."""
        return "stdin" if self.csv == STDIN else str(self.csv or self.parquet)

    @property
    def chosen(self) -> list[str] | None:
        """The names of the columns to use by position; None: all."""
        return None if self.columns is None else [each.strip() for each in self.columns.split(",")]

    def run(self, endpoint_name: str) -> Mapping[str, Any]:
        """Return what a run that goes on must have in common with the one before."""
        described = {each.name: getattr(self, each.name) for each in fields(self)}
        left_out = ("resume", "to", "csv", "parquet")
        same = {
            name: None if value is None else str(value) for name, value in described.items() if name not in left_out
        }
        return {"endpoint_name": endpoint_name, "table": self.name, **same}

    def check(self) -> None:
        """Raise click.UsageError for options that don't go together."""
        if self.csv is not None and self.parquet is not None:
            raise click.UsageError("--csv and --parquet are two tables: give one.")
        if self.csv is None and self.parquet is None:
            wrong = [f"--{name.replace('_', '-')}" for name in ("resume", "errors", "columns") if getattr(self, name)]
            if wrong or self.to is not None or self.keep_columns:
                wrong += ["--output"] * (self.to is not None) + ["--keep-columns"] * self.keep_columns
                raise click.UsageError(f"{', '.join(wrong)}: only with --csv or --parquet.")
        elif self.resume and (self.to is None or self.to.suffix == ".parquet"):
            raise click.UsageError("--resume goes on with a CSV file: name it with --output.")
        elif self.parquet is not None and self.to is None:
            raise click.UsageError("--parquet needs --output FILE (.parquet or .csv).")


def takes_tables(function: Command) -> Command:
    """Give a command the options of `TableOptions`."""
    path = click.Path(dir_okay=False, path_type=Path)
    for option in reversed(
        (
            click.option("--csv", metavar="FILE", help="Predict each row of a CSV file, or of stdin (-)."),
            click.option("--parquet", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
                         help="Predict each row of a Parquet file; needs pyarrow."),
            click.option("--output", "to", type=path, metavar="FILE",
                         help="Where the predictions go: CSV, or Parquet (.parquet).  [default: stdout]"),
            click.option("--resume", is_flag=True, help="Go on with an --output that was interrupted."),
            click.option("--errors", type=path, metavar="FILE",
                         help="Where rows without a prediction go, with the reason.  [default: a column `error`]"),
            click.option("--delimiter", type=Delimiter(), default=",", show_default=True, help="Of CSV; or `tab`."),
            click.option("--header/--no-header", default=True, show_default=True,
                         help="Whether the first line of the CSV file names the columns."),
            click.option("--columns", metavar="A,B", help="The columns to use, in order, if the input has no names."),
            click.option("--keep-columns", is_flag=True, help="Copy the table's columns before the predictions."),
            click.option("--rows-a-job", type=click.IntRange(1, 1000), default=ROWS_A_JOB, show_default=True,
                         help="Rows that share a job; fewer for slow models."),
        )
    ):  # fmt: skip
        function = option(function)
    return function
