"""Cancels the queued jobs of an endpoint: counts them, asks, and cancels them step by step with progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from api.cli.client import Client, Document
from api.cli.output import Output


def cancel_queued(
    client: Client,
    output: Output,
    *,
    endpoint_name: str | None,
    queued: bool,
    older_than_s: float | None,
    delayed: bool,
    force: bool,
    yes: bool,
) -> None:
    """Cancel the queued jobs of an endpoint, after a question unless `yes`."""
    if endpoint_name is None or not queued:
        raise click.UsageError("Name JOB_ID, or an endpoint's queued jobs: --endpoint ENDPOINT --queued.")
    if force:
        raise click.UsageError("--force is for one job: queued jobs don't run.")
    began = time.monotonic()

    def step(cursor: int, *, dry_run: bool) -> Document:
        # What is submitted after the command has begun is not meant.
        older = (older_than_s or 0.0) + time.monotonic() - began
        body = {"endpoint_name": endpoint_name, "older_than_s": older, "delayed": delayed, "dry_run": dry_run}
        return client.post("/jobs/cancel", {**body, "cursor": cursor})

    if not yes and not _confirmed(output, endpoint_name, lambda cursor: step(cursor, dry_run=True)):
        return
    with output.progress(f"{endpoint_name}: cancelling queued jobs") as show:
        count = _all_steps(
            lambda cursor: step(cursor, dry_run=False),
            "cancelled_count",
            lambda so_far: show(f"{endpoint_name}: {so_far} queued jobs are cancelled"),
        )
    if output.as_json:
        output.document({"endpoint_name": endpoint_name, "cancelled_count": count})
    else:
        output.line(f"{count} queued {'job' if count == 1 else 'jobs'} of {endpoint_name} {_are(count)} cancelled.")


def _confirmed(output: Output, endpoint_name: str, step: Callable[[int], Document]) -> bool:
    """Tell how many jobs are meant, and ask; False if there are none. Raises click.Abort for a no."""
    if output.as_json or not sys.stdin.isatty():
        raise click.UsageError("Add --yes: there is no terminal on which to ask.")
    count = _all_steps(step, "matched_count", lambda _so_far: None)
    if not count:
        output.line(f"{endpoint_name} has no such queued jobs.")
        return False
    jobs = f"{count} queued {'job' if count == 1 else 'jobs'}"
    return click.confirm(f"Cancel {jobs} of {endpoint_name}? They will never run.", abort=True, err=True)


def _all_steps(step: Callable[[int], Document], what: str, show: Callable[[int], None]) -> int:
    count: int = 0
    cursor: int = 0
    while True:
        found = step(cursor)
        count += found[what]
        show(count)
        if found["cursor"] is None:
            return count
        cursor = found["cursor"]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
