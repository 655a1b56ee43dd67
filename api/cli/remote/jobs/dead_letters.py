"""`queuecast dead-letters`: shows jobs that were given up, sends them again, or discards them."""

from __future__ import annotations

import click

from api.cli.client import Client, path_of
from api.cli.options import calls_service
from api.cli.output import Output, local_time


@click.group(name="dead-letters")
def dead_letters() -> None:
    """Show jobs that were given up because they killed their hosts; send them again, or discard them."""


@dead_letters.command(name="list")
@click.option("--endpoint", "endpoint_name", help="Only this endpoint's.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many, newest first.")
@calls_service
def list_dead_letters(client: Client, output: Output, endpoint_name: str | None, limit: int) -> None:
    """List dead letters, newest first."""
    found = client.get("/dead-letters", endpoint_name=endpoint_name, limit=limit)
    if output.as_json:
        output.document(found)
        return
    output.table(
        ["JOB", "ENDPOINT", "GIVEN UP", "ATTEMPTS", "LAST REASON"],
        [
            (
                letter["job_id"],
                letter["endpoint_name"],
                local_time(letter["given_up_at"]),
                len(letter["failures"]),
                letter["failures"][-1]["reason"] if letter["failures"] else None,
            )
            for letter in found["dead_letters"]
        ],
        "No dead letters.",
    )


@dead_letters.command()
@click.argument("job_id")
@calls_service
def show(client: Client, output: Output, job_id: str) -> None:
    """Show the dead letter of JOB_ID: its input, and the reason of every attempt."""
    letter = client.get(path_of("dead-letters", job_id))
    if output.as_json:
        output.document(letter)
        return
    times = {name: local_time(letter[name]) for name in ("submitted_at", "given_up_at")}
    attempts = {f"attempt {each['attempt']}": f"{each['worker']}: {each['reason']}" for each in letter["failures"]}
    output.facts({**{name: value for name, value in letter.items() if name != "failures"}, **times, **attempts})


@dead_letters.command()
@click.argument("job_id")
@click.option("--endpoint", "endpoint_name", help="Send it to this endpoint instead of its own.")
@calls_service
def replay(client: Client, output: Output, job_id: str, endpoint_name: str | None) -> None:
    """Submit the input of the dead letter JOB_ID again, as a new job."""
    body = {} if endpoint_name is None else {"endpoint_name": endpoint_name}
    job = client.post(path_of("dead-letters", job_id, "replay"), body)
    if output.as_json:
        output.document(job)
        return
    output.line(job["job_id"])
    output.note(f"Look at it with: queuecast jobs show {job['job_id']} --wait")


@dead_letters.command()
@click.argument("job_id")
@calls_service
def discard(client: Client, output: Output, job_id: str) -> None:
    """Discard the dead letter JOB_ID for good."""
    client.delete(path_of("dead-letters", job_id))
    if output.as_json:
        output.document({"job_id": job_id, "discarded": True})
    else:
        output.line(f"Dead letter {job_id} is discarded.")
