"""`queuecast predict --bulk`: a job for each of many inputs, submitted in a few large requests."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import click

from api.cli.client import Client, Document
from api.cli.errors import CliError, JobUnsuccessful, RequestRefused
from api.cli.options import parsed
from api.cli.output import Output, to_json
from api.cli.remote.deployments import waiting
from api.errors import JsonInvalid
from api.strict_json import WHITESPACE, json_lines, json_text, without_mark

#: As many as the default limits of the service take, with room for long inputs.
_JOBS_A_REQUEST = 5_000
_BYTES_A_REQUEST = 4_000_000
#: The service says so when it will take more, or is back, in a moment.
_WORTH_ANOTHER_TRY = (429, 503)


def inputs_of(content: bytes, what: str) -> list[Any]:
    """Return the inputs in a JSON array, or one a line. Raises JsonInvalid."""
    if without_mark(content).lstrip(WHITESPACE)[:1] == b"[":
        try:
            return list(json_text(content, what))
        except JsonInvalid:
            pass  # lines, each with an array
    return [document for _, document in json_lines(content, what)]


def predict_all(
    client: Client, output: Output, path: str, text: str, body: Document, *, wait: bool, timeout_s: float
) -> None:
    """Submit a job for each input in `text`, and show their ids, or with `wait` their outcomes, in order.

    Raises:
        JobUnsuccessful: some of the jobs ended without an outcome.
        TimedOut: some have not ended in `timeout_s`.
    """
    inputs = parsed(text, inputs_of)
    if not inputs:
        raise click.UsageError("There are no inputs.")
    ends_at = time.monotonic() + timeout_s
    job_ids: list[str] = []
    try:
        with output.progress(f"0 of {len(inputs)} jobs submitted") as show:
            for request in _requests(inputs, body):
                found = _submitted(client, path, request, ends_at)
                job_ids += found
                show(f"{len(job_ids)} of {len(inputs)} jobs submitted")
                if not wait and not output.as_json:
                    click.echo("\n".join(found))
    except CliError:
        output.note(f"{len(job_ids)} of {len(inputs)} jobs were submitted; lines are counted from the next input.")
        raise
    if wait:
        _show_outcomes(client, output, job_ids, ends_at)
    elif output.as_json:
        output.document({"job_ids": job_ids})


def _requests(inputs: list[Any], body: Document) -> Iterator[bytes]:
    lines: list[bytes] = []
    size = 0
    for each in inputs:
        line = json.dumps({"input": each, **body}).encode()
        if lines and (len(lines) == _JOBS_A_REQUEST or size + len(line) > _BYTES_A_REQUEST):
            yield b"\n".join(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line) + 1
    yield b"\n".join(lines)


def _submitted(client: Client, path: str, request: bytes, ends_at: float) -> list[str]:
    """Send a request until it is accepted, under one key, so that no job is submitted twice."""
    key = str(uuid.uuid4())
    while True:
        try:
            job_ids: list[str] = client.post_lines(path, request, key)["job_ids"]
        except RequestRefused as error:
            pause_s = float(error.document.get("retry_after_s") or 2)
            if error.status not in _WORTH_ANOTHER_TRY or time.monotonic() + pause_s > ends_at:
                raise
            time.sleep(pause_s)
        else:
            return job_ids


def _show_outcomes(client: Client, output: Output, job_ids: list[str], ends_at: float) -> None:
    jobs, unsuccessful = [], 0
    with output.progress(f"0 of {len(job_ids)} jobs ended") as show:
        for number, job in enumerate(waiting.ends_of(client, job_ids, ends_at), 1):
            jobs.append(job)
            unsuccessful += job["status"] != "succeeded"
            show(f"{number} of {len(job_ids)} jobs ended")
            if not output.as_json:
                click.echo(to_json((job["outcome"] or {}).get("prediction")))
                _note_error(output, number, job)
    if output.as_json:
        output.document({"jobs": jobs})
    if unsuccessful:
        raise JobUnsuccessful(f"{unsuccessful} of {len(job_ids)} jobs have no outcome.", {"code": "job_unsuccessful"})


def _note_error(output: Output, number: int, job: Document) -> None:
    if job["status"] != "succeeded":
        output.note(f"Input {number}: job {job['job_id']} is {job['status']}: {(job['error'] or {}).get('message')}")
