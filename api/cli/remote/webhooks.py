"""`queuecast webhooks`: shows deliveries of webhooks, and sends them again."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from api.cli.client import Client, Document, path_of
from api.cli.options import calls_service
from api.cli.output import Output, local_time

_STATUSES = ["pending", "delivered", "failed"]
#: Longer due than a background process needs to see it, also one whose task was lost.
_OVERDUE_S = 60.0


@click.group()
def webhooks() -> None:
    """Show deliveries of webhooks, and send them again.

    \b
    Examples:
      queuecast webhooks list --status failed
      queuecast webhooks show JOB_ID
      queuecast webhooks redeliver JOB_ID
    """


@webhooks.command(name="list")
@click.option("--endpoint", "endpoint_name", help="Only of this endpoint's jobs.")
@click.option("--status", type=click.Choice(_STATUSES), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many, newest first.")
@calls_service
def list_deliveries(client: Client, output: Output, endpoint_name: str | None, status: str | None, limit: int) -> None:
    """List deliveries, newest first."""
    found = client.get("/webhooks/deliveries", endpoint_name=endpoint_name, status=status, limit=limit)
    if output.as_json:
        output.document(found)
        return
    output.table(
        ["JOB", "ENDPOINT", "STATUS", "CALLBACK URL", "ENDED", "ATTEMPTS", "NEXT", "LAST ERROR"],
        [
            (
                each["job_id"],
                each["endpoint_name"],
                each["status"],
                each["callback_url"],
                local_time(each["created_at"]),
                len(each["attempts"]),
                local_time(each["next_attempt_at"]),
                each["attempts"][-1]["error"] if each["attempts"] else None,
            )
            for each in found["deliveries"]
        ],
        "No such deliveries.",
    )
    if overdue := sum(map(_is_overdue, found["deliveries"])):
        output.note(
            f"{overdue} of these should have been sent over a minute ago: no background process runs, or the receiver "
            "takes less than comes (docs/guides/webhooks.md)."
        )


@webhooks.command()
@click.argument("job_id")
@calls_service
def show(client: Client, output: Output, job_id: str) -> None:
    """Show the webhook of JOB_ID with all its attempts."""
    _show(output, client.get(path_of("webhooks", "deliveries", job_id)))


@webhooks.command()
@click.argument("job_ids", metavar="JOB_ID...", nargs=-1, required=True)
@calls_service
def redeliver(client: Client, output: Output, job_ids: tuple[str, ...]) -> None:
    """Send the webhooks of these jobs again, each with its first webhook-id."""
    found: list[Document] = []
    for job_id in job_ids:
        found.append(client.post(path_of("webhooks", "deliveries", job_id, "redeliver"), {}))
        if not output.as_json:  # at once: the next one may be refused
            output.line(f"{job_id} is sent again to {found[-1]['callback_url']}.")
    if output.as_json:
        output.document({"deliveries": found})


def _is_overdue(delivery: Document) -> bool:
    due = delivery["next_attempt_at"]
    return bool(due) and (datetime.now(UTC) - datetime.fromisoformat(due)).total_seconds() > _OVERDUE_S


def _show(output: Output, delivery: Document) -> None:
    if output.as_json:
        output.document(delivery)
        return
    times = {name: local_time(delivery[name]) for name in ("created_at", "next_attempt_at")}
    attempts = {
        f"attempt {number}": f"{local_time(each['at'])}  {each['duration_ms']:.0f} ms  {_became(each)}"
        for number, each in enumerate(delivery["attempts"], 1)
    }
    output.facts({**{name: value for name, value in delivery.items() if name != "attempts"}, **times, **attempts})


def _became(attempt: Document) -> str:
    answer = (attempt["answer"] or "").strip().partition("\n")[0]
    said = attempt["error"] or f"It answered {attempt['status_code']}."
    return f"{said}  {answer}".rstrip()
