"""`queuecast jobs`: shows jobs, follows them, cancels them, and runs failed ones again."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import Any

import click
from click.core import ParameterSource

from api.cli.client import Client, Document, path_of
from api.cli.options import Duration, JsonValue, calls_service
from api.cli.output import Output, local_time, queue_position, seconds_between
from api.cli.remote.deployments import waiting
from api.cli.remote.jobs import emptying

#: A change is shown at the latest after this long; the end of the job at once.
_LOOK_INTERVAL_S = 1.0
_STATES = ["queued", "running", "succeeded", "failed", "cancelled", "expired", "unreadable"]


@click.group()
def jobs() -> None:
    """Show jobs, follow them, cancel queued ones, and run failed ones again."""


@jobs.command()
@click.argument("job_id")
@click.option("--wait/--no-wait", default=False, show_default=True, help="Wait for its end.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True,
              help="Seconds to wait; then the exit code is 4.")  # fmt: skip
@calls_service
def show(client: Client, output: Output, job_id: str, wait: bool, timeout_s: float) -> None:
    """Show the job JOB_ID; exit code 1 if it failed, was cancelled or expired."""
    job = waiting.job_end(client, output, job_id, timeout_s) if wait else client.get(path_of("jobs", job_id))
    if output.as_json:
        output.document(job)
    else:
        _show_facts(output, job)
    waiting.succeeded(job)


@jobs.command()
@click.argument("job_id")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True),
              help="Seconds to wait; then the exit code is 4.  [default: until the job ends]")  # fmt: skip
@calls_service
def watch(client: Client, output: Output, job_id: str, timeout_s: float | None) -> None:
    """Follow the job JOB_ID to its end; exit code 1 if it fails, is cancelled or expires.

    Each change of its state, or of its place in the queue, is a line; with --json, the job as a document.

    \b
    Example:
      queuecast jobs watch "$(queuecast predict classifier_prod '[0.5, 0.8, 0.2]' --no-wait)"
      # 2026-11-24 10:31:02  queued     12 ahead, about 3 s
      # 2026-11-24 10:31:05  running
      # 2026-11-24 10:31:05  succeeded  3.214 s after its submit
    """
    ends_at = math.inf if timeout_s is None else time.monotonic() + timeout_s
    job = waiting.end_of(client, job_id, ends_at, _Changes(output).show, _LOOK_INTERVAL_S)
    waiting.succeeded(job)


@jobs.command(name="list")
@click.option("--endpoint", "endpoint_name", help="Only this endpoint's.")
@click.option("--status", type=click.Choice(_STATES), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many, newest first.")
@calls_service
def list_jobs(client: Client, output: Output, endpoint_name: str | None, status: str | None, limit: int) -> None:
    """List recent jobs, newest first."""
    found = client.get("/jobs", endpoint_name=endpoint_name, status=status, limit=limit)
    if output.as_json:
        output.document(found)
        return
    output.table(
        ["JOB", "ENDPOINT", "STATUS", "SUBMITTED", "TOOK", "ERROR"],
        [
            (
                job["job_id"],
                job["endpoint_name"],
                job["status"],
                local_time(job["submitted_at"]),
                seconds_between(job["submitted_at"], job["finished_at"]),
                (job.get("error") or {}).get("message", ""),
            )
            for job in found["jobs"]
        ],
        "No such jobs.",
    )


@jobs.command()
@click.argument("job_id", required=False)
@click.option("--force", is_flag=True, help="Cancel JOB_ID also while it runs; this may stop its model host.")
@click.option("--endpoint", "endpoint_name", help="Cancel this endpoint's queued jobs instead of one job.")
@click.option("--queued", is_flag=True, help="With --endpoint: all that are queued now. Running ones go on.")
@click.option("--older-than", "older_than_s", type=Duration(), help="Only those submitted so long ago: 10m, 2h.")
@click.option("--delayed", is_flag=True, help="Also delayed jobs, which wait for their time and not in the queue.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@calls_service
def cancel(client: Client, output: Output, job_id: str | None, force: bool, yes: bool, **which: Any) -> None:
    """Cancel the job JOB_ID if it is still queued, or the queued jobs of an endpoint: they will never run.

    A pipeline is cancelled also while it runs: the step that runs, and all after it.

    With an API key of the role client, only your own jobs are cancelled. A command that is cut off can be repeated.

    \b
    Examples:
      queuecast jobs cancel 82776c54-76a5-4b79-b99d-501c4a52d575
      queuecast jobs cancel --endpoint classifier_prod --queued
      queuecast jobs cancel --endpoint classifier_prod --queued --older-than 10m --yes
    """
    if job_id is None:
        emptying.cancel_queued(client, output, force=force, yes=yes, **which)
        return
    if any(which.values()):
        raise click.UsageError("Name either JOB_ID or --endpoint, with --queued, --older-than and --delayed.")
    job = client.delete(path_of("jobs", job_id), **({"force": "true"} if force else {}))
    if output.as_json:
        output.document(job)
    else:
        output.line(f"Job {job_id} is {job['status']}.")


@jobs.command()
@click.argument("job_id")
@click.option("--input", "edited", type=JsonValue(), help="An edited input: JSON, @FILE, or - for stdin.")
@click.option("--inputs", "many", type=JsonValue(), help="The same for a job with several inputs: a list of them.")
@click.option("--endpoint", "endpoint_name", help="Send it to this endpoint instead of its own.")
@calls_service
def retry(client: Client, output: Output, job_id: str, edited: Any, many: Any, endpoint_name: str | None) -> None:
    """Run the failed job JOB_ID again: a new job with the same input, or with an edited one.

    A pipeline goes on from the step that has failed, with that step's input.

    \b
    Examples:
      queuecast jobs retry 82776c54-76a5-4b79-b99d-501c4a52d575
      queuecast jobs retry 82776c54-76a5-4b79-b99d-501c4a52d575 --input '[0.5, 0.8, 0.2]'
    """
    named = {"input": edited, "inputs": many, "endpoint_name": endpoint_name}
    given = {name for name in named if _is_given({"input": "edited", "inputs": "many"}.get(name, name))}
    if {"input", "inputs"} <= given:
        raise click.UsageError("Give at most one of --input and --inputs.")
    job = client.post(path_of("jobs", job_id, "retry"), {name: named[name] for name in named if name in given})
    if output.as_json:
        output.document(job)
        return
    output.line(job["job_id"])
    output.note(f"Look at it with: queuecast jobs show {job['job_id']} --wait")


def _is_given(parameter: str) -> bool:
    """Tell whether a parameter was given, as `null` is an input too."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source is not None and source is not ParameterSource.DEFAULT


def _step(step: Document) -> tuple[str, str, str | None, str, str]:
    took = seconds_between(step["started_at"], step["finished_at"])
    return step["endpoint_name"], step["status"], took, step["job_id"], (step.get("error") or {}).get("message", "")


class _Changes:
    """Shows a job each time that its state or its queue position changes."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._status = ""
        self._position: int | None = None

    def show(self, job: Document) -> None:
        """Show it, unless it was shown like that."""
        status, position = job["status"], (job.get("queue") or {}).get("position")
        if (status, position) == (self._status, self._position):
            return
        if self._output.as_json:
            self._output.document(job)
        elif status == "queued":
            self._line(None, status, queue_position(job))
        else:
            if self._status != "running" and job["started_at"]:  # it was so between two looks, or is now
                self._line(job["started_at"], "running", f"attempt {job['attempts']}" if job["attempts"] > 1 else None)
            if status != "running":
                took = seconds_between(job["submitted_at"], job["finished_at"])
                self._line(job["finished_at"], status, took and f"{took} after its submit")
        self._status, self._position = status, position

    def _line(self, at: str | None, status: str, more: str | None) -> None:
        time_of_it = local_time(at or datetime.now(UTC).isoformat())
        self._output.line(f"{time_of_it}  {status:<9}  {more or ''}".rstrip())


def _show_facts(output: Output, job: Document) -> None:
    error = job["error"] or {}
    output.facts(
        {
            "job": job["job_id"],
            "endpoint": job["endpoint_name"],
            "status": job["status"],
            "queue": queue_position(job),
            "priority": job.get("priority"),
            "submitted": local_time(job["submitted_at"]),
            "took": seconds_between(job["submitted_at"], job["finished_at"]),
            "attempts": job["attempts"],
            "outcome": job["outcome"],
            "error": {name: value for name, value in error.items() if name != "traceback"} or None,
        }
    )
    if error.get("traceback"):
        output.line(f"\n{error['traceback']}")
    if steps := job.get("steps"):
        output.line("")
        output.table(["ENDPOINT", "STATUS", "TOOK", "JOB", "ERROR"], [_step(each) for each in steps], "")
