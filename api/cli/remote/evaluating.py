"""`queuecast evaluate` and `queuecast evaluations`: a candidate version on an endpoint's jobs, and the report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from api.cli.client import Client, Document, path_of
from api.cli.errors import EvaluationFailed, ExitCode, TimedOut
from api.cli.options import calls_service
from api.cli.output import Output, local_time
from api.cli.remote.tables.csv_source import CsvSource
from api.cli.remote.tables.parquet import ParquetSource
from api.client import InputInvalid
from api.client.tables.columns import Columns
from api.errors import JsonInvalid
from api.strict_json import json_lines

_POLL_S = 1.0
_UNFINISHED = ("waiting", "loading", "replaying")
_EXIT_CODES = {
    "same": ExitCode.OK,
    "better": ExitCode.OK,
    "differs": ExitCode.DIFFERS,
    "worse": ExitCode.WORSE,
    "inconclusive": ExitCode.INCONCLUSIVE,
}
#: A column of a table, or a member of a line, with what is true of the row.
_TRUTH = "truth"


@click.command()
@click.argument("endpoint")
@click.option("--version", required=True, help="The candidate: another version of the endpoint's model.")
@click.option("--since", help="Jobs of the journal that ended since: 24h, 30d, or a time in ISO 8601.  [default: 24h]")
@click.option("--until", help="Jobs that ended before: the same.")
@click.option(
    "--dataset",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows to replay instead: .ndjson, .csv or .parquet. `truth` is what is true of a row.",
)
@click.option("--max-jobs", type=int, default=2_000, show_default=True, help="Of more, a uniform sample is taken.")
@click.option("--control", type=float, help="Share of jobs that also run on the present version again.  [default: 0.1]")
@click.option("--tolerance", type=float, help="Numbers agree within this share of the larger one.  [default: 0.001]")
@click.option(
    "--probability-tolerance",
    type=float,
    help="Probabilities agree within this, if the same class wins.  [default: 0.05]",
)
@click.option("--margin", type=float, help="Share of rows that may differ.  [default: 0.01]")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the report.")
@click.option("--timeout", "timeout_s", type=float, default=3_900.0, show_default=True, help="Seconds to wait.")
@calls_service
def evaluate(
    client: Client,
    output: Output,
    *,
    endpoint: str,
    version: str,
    dataset: Path | None,
    wait: bool,
    timeout_s: float,
    **options: Any,
) -> None:
    """Replay jobs of ENDPOINT on another version, and show how the answers differ.

    The exit code is the verdict: 0 same or better, 5 differs, 6 worse, 7 inconclusive; 1 means no report.

    \b
    Examples:
      queuecast evaluate classifier_prod --version 7 --since 24h
      queuecast evaluate classifier_prod --version 7 --dataset held-out.csv
      queuecast evaluate classifier_prod --version 7 && queuecast deploy classifier --version 7 …
    """
    wanted = {name: value for name, value in options.items() if value is not None}
    if dataset is not None:
        wanted["dataset"] = list(_rows(client, endpoint, dataset, options["max_jobs"]))
    found = client.post("/evaluations", {"endpoint_name": endpoint, "version": version, **wanted})
    if not wait:
        _show(output, found)
        return
    output.note(f"Evaluation {found['evaluation_id']}: queuecast evaluations show {found['evaluation_id']}")
    found = _ended(client, output, found["evaluation_id"], timeout_s)
    _show(output, found)
    _end_by_verdict(found)


@click.group()
def evaluations() -> None:
    """List, show, cancel and delete evaluations."""


@evaluations.command(name="list")
@click.option("--endpoint", help="Those of this endpoint.")
@calls_service
def list_evaluations(client: Client, output: Output, endpoint: str | None) -> None:
    """List the newest evaluations."""
    found = client.get("/evaluations", endpoint_name=endpoint)
    if output.as_json:
        output.document(found)
        return
    columns = ["EVALUATION", "ENDPOINT", "CANDIDATE", "STATE", "VERDICT", "REPLAYED", "CREATED"]
    rows = [
        (
            each["evaluation_id"],
            each["endpoint_name"],
            each["version"],
            each["state"],
            each["verdict"],
            _replayed(each),
            local_time(each["created_at"]),
        )
        for each in found["evaluations"]
    ]
    output.table(columns, rows, "There are no evaluations: queuecast evaluate --help")


@evaluations.command()
@click.argument("evaluation")
@calls_service
def show(client: Client, output: Output, evaluation: str) -> None:
    """Show an evaluation, with its report."""
    _show(output, client.get(path_of("evaluations", evaluation)))


@evaluations.command()
@click.argument("evaluation")
@calls_service
def cancel(client: Client, output: Output, evaluation: str) -> None:
    """Cancel an evaluation that has not ended."""
    found = client.get(path_of("evaluations", evaluation))
    if found["state"] in _UNFINISHED:
        found = client.delete(path_of("evaluations", evaluation)) or {**found, "state": "deleted"}
    _say(output, found)


@evaluations.command()
@click.argument("evaluation")
@calls_service
def delete(client: Client, output: Output, evaluation: str) -> None:
    """Delete an evaluation that has ended, with its report."""
    found = client.get(path_of("evaluations", evaluation))
    if found["state"] in _UNFINISHED:
        raise click.UsageError(f"{evaluation} is {found['state']}: cancel it first.")
    client.delete(path_of("evaluations", evaluation))
    _say(output, {**found, "state": "deleted"})


def _say(output: Output, found: Document) -> None:
    if output.as_json:
        output.document({"evaluation_id": found["evaluation_id"], "state": found["state"]})
        return
    output.line(f"Evaluation {found['evaluation_id']} is {found['state']}.")


def _ended(client: Client, output: Output, evaluation_id: str, timeout_s: float) -> Document:
    """Wait until an evaluation ends, and show its progress. Raises TimedOut."""
    ends_at = time.monotonic() + timeout_s
    with output.progress(f"evaluation {evaluation_id}: waiting") as show_progress:
        while True:
            found = client.get(path_of("evaluations", evaluation_id))
            if found["state"] not in _UNFINISHED:
                return found
            if time.monotonic() >= ends_at:
                raise TimedOut(
                    f"Evaluation {evaluation_id} is {found['state']} and goes on; look with: "
                    f"queuecast evaluations show {evaluation_id}",
                    {"evaluation": found},
                )
            show_progress(_progress(found))
            time.sleep(_POLL_S)


def _progress(found: Document) -> str:
    progress = found["progress"]
    eta = "" if progress["eta_s"] is None else f", about {progress['eta_s']:.0f} s more"
    errors = progress["errors"]["candidate"]
    return f"{found['state']}: {_replayed(found) or 'no'} jobs, {errors} errors of the candidate{eta}"


def _replayed(found: Document) -> str | None:
    progress = found["progress"]
    return None if progress["jobs"] is None else f"{progress['replayed']} of {progress['jobs']}"


def _show(output: Output, found: Document) -> None:
    if output.as_json:
        output.document(found)
        return
    report = found.get("report") or {}
    output.facts(
        {
            "evaluation": found["evaluation_id"],
            "endpoint": found["endpoint_name"],
            "versions": f"{found['version']} (candidate) against {found['stable_version']}",
            "state": found["state"],
            "error": found["error"],
            "replayed": _replayed(found),
            "stopped": found["progress"]["stopped"],
            "last_error": found["progress"].get("last_error"),
            "errors of the candidate": found["progress"]["errors"]["candidate"] if report else None,
            "agreement": _agreement(report),
            "verdict": found["verdict"],
            "reason": report.get("reason"),
        }
    )
    for note in report.get("notes") or []:
        output.line(f"- {note}")


def _agreement(report: Document) -> str | None:
    found = report.get("agreement")
    if not isinstance(found, dict) or "estimate" not in found:
        return None
    return f"{found['estimate']:.2%} of the rows (95 %: {found['low']:.2%} to {found['high']:.2%})"


def _end_by_verdict(found: Document) -> None:
    """End the command with the exit code of the verdict. Raises EvaluationFailed without one."""
    if found["state"] != "succeeded":
        why = found["error"] or f"It was {found['state']}."
        raise EvaluationFailed(f"Evaluation {found['evaluation_id']} has no report. {why}", {"evaluation": found})
    if code := _EXIT_CODES.get(found["verdict"], ExitCode.INCONCLUSIVE):
        sys.exit(code)


def _rows(client: Client, endpoint: str, path: Path, most: int) -> Iterator[Document]:
    """Yield the rows of a dataset as the service takes them."""
    read: Callable[[Client, str, Path], Iterator[Document]] = {
        ".csv": _rows_of_table,
        ".parquet": _rows_of_table,
    }.get(path.suffix.lower(), _rows_of_lines)
    for number, row in enumerate(read(client, endpoint, path)):
        if number == most:
            return
        yield row


def _rows_of_lines(_client: Client, _endpoint: str, path: Path) -> Iterator[Document]:
    """Yield the lines of an NDJSON file: `{"input": …}`, `{"inputs": […]}`, or an input itself."""
    try:
        for _, line in json_lines(path.read_bytes(), path.name):
            is_row = isinstance(line, dict) and ("input" in line or "inputs" in line)
            known = ("input", "inputs", _TRUTH, "truths")
            yield {name: line[name] for name in known if name in line} if is_row else {"input": line}
    except JsonInvalid as error:
        raise click.UsageError(str(error)) from error


def _rows_of_table(client: Client, endpoint: str, path: Path) -> Iterator[Document]:
    source = ParquetSource(path) if path.suffix.lower() == ".parquet" else CsvSource(str(path), ",", has_header=True)
    try:
        truth_at = source.header.index(_TRUTH) if _TRUTH in source.header else None
        names = [name for name in source.header if name != _TRUTH]
        signature = client.signature(endpoint)
        chosen = None if "fields" in signature else names
        columns = Columns(signature, source.header, chosen, texts=source.texts)
        for number, row in enumerate(source.rows(), 1):
            found = row if isinstance(row, InputInvalid) else columns.input_of(row)
            if isinstance(found, InputInvalid):
                raise click.UsageError(f"{path.name}, row {number}: {found}")
            truth = {} if truth_at is None or isinstance(row, InputInvalid) else {_TRUTH: row[truth_at]}
            yield {"input": found, **truth}
    finally:
        source.close()
