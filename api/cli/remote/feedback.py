"""`queuecast feedback`: what is right for jobs that the journal keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

import click

from api.cli.client import Client
from api.cli.options import calls_service
from api.cli.output import Output

_SHOWN = 10


@click.group()
def feedback() -> None:
    """Say what is right for jobs that the journal keeps; the latest feedback on a job counts."""


@feedback.command()
@click.argument("job")
@click.argument("truth")
@click.option("--weight", type=float, default=1.0, show_default=True, help="How much it counts.")
@calls_service
def give(client: Client, output: Output, job: str, truth: str, weight: float) -> None:
    """Say that TRUTH is right for JOB: JSON, or else a text.

    \b
      queuecast feedback give 82776c54-76a5-4b79-b99d-501c4a52d575 malignant
      queuecast feedback give 4f76cbb5-7f75-4526-9c4f-b268d3cd9d04 0.68
    """
    client.give_feedback(job, _value(truth), weight=weight)
    if output.as_json:
        output.document({"job_id": job})
    else:
        output.line(f"Feedback on job {job} is stored.")


@feedback.command()
@click.argument("file", type=click.File("r", encoding="utf-8"))
@calls_service
def load(client: Client, output: Output, file: IO[str]) -> None:
    """Give feedback from FILE (- is stdin): one JSON object a line, with `job_id` and `truth`."""
    count = 0

    def counted() -> Iterator[tuple[str, Any]]:
        nonlocal count
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _pair(number, line)
                count += 1

    unknown = client.give_much_feedback(counted())
    if output.as_json:
        output.document({"accepted_count": count - len(unknown), "unknown_job_ids": unknown})
        return
    output.line(f"Feedback on {count - len(unknown)} jobs is stored.")
    if unknown:
        some = ", ".join(unknown[:_SHOWN]) + (" …" if len(unknown) > _SHOWN else "")
        output.note(f"{len(unknown)} jobs are not in the journal: {some}")


def _pair(number: int, line: str) -> tuple[str, Any]:
    try:
        found = json.loads(line)
        return str(found["job_id"]), found["truth"]
    except (ValueError, KeyError, TypeError) as error:
        raise click.ClickException(f"Line {number} is no JSON object with job_id and truth.") from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
