"""`queuecast journal`: the kept inputs and outcomes of an endpoint's jobs."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from typing import IO, Any, Literal

import click

from api.cli.client import Client, path_of
from api.cli.options import calls_service
from api.cli.output import Output, local_time

_MOMENT = "a time ago (24h, 30d), or a time in ISO 8601"


@click.group()
def journal() -> None:
    """Export, show and forget the jobs that the journal keeps."""


@journal.command()
@click.argument("endpoint")
@click.option("--since", default="24h", show_default=True, help=f"Jobs that ended since: {_MOMENT}.")
@click.option("--until", help="Jobs that ended before: the same.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "parquet"]),
    help="Default: parquet if --output ends in .parquet, otherwise ndjson: one JSON object a line.",
)
@click.option("--output", "path", type=click.Path(dir_okay=False), help="The file to write, instead of stdout.")
@calls_service
def export(
    client: Client,
    output: Output,
    endpoint: str,
    since: str,
    until: str | None,
    form: Literal["ndjson", "parquet"] | None,
    path: str | None,
) -> None:
    """Write the jobs of ENDPOINT with inputs and outcomes, oldest first.

    \b
      queuecast journal export classifier_prod --since 24h > jobs.ndjson
      queuecast journal export classifier_prod --since 30d --output jobs.parquet
    """
    chosen = form or ("parquet" if path is not None and path.endswith(".parquet") else "ndjson")
    if chosen == "parquet" and path is None and sys.stdout.isatty():
        raise click.UsageError("A Parquet file is no text for a terminal: write it into a file, with > or --output.")
    pages = client.export_journal(endpoint, since, until, chosen)
    # Nothing is written if the first page is an error.
    first = next(pages, b"")
    with click.open_file(path or "-", "wb") as file:
        count = (_write_parquet if chosen == "parquet" else _write_lines)(file, first, pages)
    output.note(f"{count} jobs of {endpoint}.")


def _write_lines(file: IO[Any], first: bytes, others: Iterator[bytes]) -> int:
    count = 0
    for page in chain((first,), others):
        file.write(page)
        count += page.count(b"\n")
    return count


def _write_parquet(file: IO[Any], first: bytes, others: Iterator[bytes]) -> int:
    """Write pages, each of which is a file, as one file."""
    parquet = import_module("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(first))
    count: int = table.num_rows
    with parquet.ParquetWriter(file, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        for page in others:
            table = parquet.read_table(io.BytesIO(page))
            writer.write_table(table)
            count += table.num_rows
    return count


@journal.command()
@click.argument("endpoint")
@calls_service
def show(client: Client, output: Output, endpoint: str) -> None:
    """Show how many jobs of ENDPOINT are kept, their bytes, and of which time."""
    found = client.get(path_of("deployments", endpoint, "journal", "kept"))
    if output.as_json:
        output.document(found)
        return
    output.facts(
        {
            "endpoint": found["endpoint_name"],
            "share kept": f"{found['journal']:g}",
            "kept for": f"{found['journal_retention_days']} days",
            "jobs": f"{found['job_count']}, and {found['waiting_count']} on their way to files",
            "files": f"{found['file_count']}, {found['size_bytes'] / 1e6:.1f} MB",
            "from": found["first_at"] and local_time(found["first_at"]),
            "to": found["last_at"] and local_time(found["last_at"]),
            "left out": found["dropped_count"] or None,
        }
    )
    if not found["journal"]:
        output.note(f"No new jobs are kept: queuecast configure {endpoint} --set journal=1")


@journal.command()
@click.argument("endpoint", required=False)
@click.option("--job", help="The job of this id.")
@click.option("--owner", help="The jobs of the API key of this name.")
@click.option("--before", help=f"Jobs that ended before: {_MOMENT}.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@calls_service
def forget(
    client: Client,
    output: Output,
    endpoint: str | None,
    job: str | None,
    owner: str | None,
    before: str | None,
    yes: bool,
) -> None:
    """Delete jobs from the journal of ENDPOINT, or of all endpoints: those to which all options apply."""
    given = {"job": job, "owner": owner, "before": before}
    which = {name: value for name, value in given.items() if value is not None}
    if not which:
        raise click.UsageError("Say which: --job, --owner or --before.")
    if not yes:
        if output.as_json or not sys.stdin.isatty():
            raise click.UsageError("Add --yes: there is no terminal on which to ask.")
        what = ", ".join(f"{name} {value}" for name, value in which.items())
        click.confirm(f"Delete the jobs of {endpoint or 'all endpoints'} with {what}?", abort=True, err=True)
    path = path_of("journal") if endpoint is None else path_of("deployments", endpoint, "journal")
    found = client.delete(path, **which)
    if output.as_json:
        output.document(found)
    else:
        output.line(f"{found['forgotten_count']} jobs were deleted from the journal.")
        if examples := found.get("forgotten_example_count"):
            output.line(f"{examples} examples were removed from reports.")
