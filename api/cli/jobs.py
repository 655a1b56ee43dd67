"""`queuecast jobs`: look at jobs, and cancel those that wait."""

from __future__ import annotations

import click

from api.cli import waiting
from api.cli.client import Client, Document, path_of
from api.cli.options import calls_service
from api.cli.output import Output, local_time, place, seconds_between

_STATES = ["queued", "running", "succeeded", "failed", "cancelled", "expired"]


@click.group()
def jobs() -> None:
    """Look at jobs, and cancel those that still wait."""


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
@click.argument("job_id")
@click.option("--force", is_flag=True, help="Cancel it also while it runs: its model host is stopped.")
@calls_service
def cancel(client: Client, output: Output, job_id: str, force: bool) -> None:
    """Cancel the job JOB_ID if it still waits: it will never run."""
    job = client.delete(path_of("jobs", job_id), **({"force": "true"} if force else {}))
    if output.as_json:
        output.document(job)
    else:
        output.line(f"Job {job_id} is {job['status']}.")


def _show_facts(output: Output, job: Document) -> None:
    output.facts(
        {
            "job": job["job_id"],
            "endpoint": job["endpoint_name"],
            "status": job["status"],
            "queue": place(job),
            "priority": job.get("priority"),
            "submitted": local_time(job["submitted_at"]),
            "took": seconds_between(job["submitted_at"], job["finished_at"]),
            "attempts": job["attempts"],
            "outcome": job["outcome"],
            "error": job["error"],
        }
    )
