"""`queuecast webhooks`: shows deliveries of webhooks, sends them again, and subscribes URLs to events."""

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
    """Show deliveries of webhooks, send them again, and subscribe to events.

    \b
    Examples:
      queuecast webhooks list --status failed
      queuecast webhooks show JOB_ID
      queuecast webhooks redeliver JOB_ID
      queuecast webhooks subscribe https://hooks.example.com/queuecast --event rollout.aborted
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
        ["JOB", "EVENT", "ENDPOINT", "STATUS", "CALLBACK URL", "ENDED", "ATTEMPTS", "NEXT", "LAST ERROR"],
        [
            (
                each["job_id"] or each["id"],
                each.get("event"),
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
            "takes less than comes (queuecast docs webhooks)."
        )


@webhooks.command()
@click.argument("job_id")
@calls_service
def show(client: Client, output: Output, job_id: str) -> None:
    """Show the webhook of JOB_ID, or of an event by its id in the list, with all its attempts."""
    _show(output, client.get(path_of("webhooks", "deliveries", job_id)))


@webhooks.command()
@click.argument("job_ids", metavar="JOB_ID...", nargs=-1, required=True)
@calls_service
def redeliver(client: Client, output: Output, job_ids: tuple[str, ...]) -> None:
    """Send the webhooks of these jobs, or of events by their ids, again, each with its first webhook-id."""
    found: list[Document] = []
    for job_id in job_ids:
        found.append(client.post(path_of("webhooks", "deliveries", job_id, "redeliver"), {}))
        if not output.as_json:  # at once: the next one may be refused
            output.line(f"{job_id} is sent again to {found[-1]['callback_url']}.")
    if output.as_json:
        output.document({"deliveries": found})


@webhooks.command()
@click.argument("receiver", metavar="RECEIVER")
@click.option("--event", "events", multiple=True, help="A kind, such as rollout.aborted; repeatable.  [default: all]")
@click.option("--endpoint", "endpoint_names", multiple=True, help="Only events of this endpoint; repeatable.")
@calls_service
def subscribe(
    client: Client, output: Output, receiver: str, events: tuple[str, ...], endpoint_names: tuple[str, ...]
) -> None:
    """Let the URL RECEIVER get a signed webhook for each event of rollouts, shadows and evaluations.

    \b
    Kinds of events:
      rollout.begun, rollout.step, rollout.paused, rollout.resumed, rollout.promoted, rollout.aborted
      shadow.ended, evaluation.finished
    """
    given = {"events": list(events), "endpoint_names": list(endpoint_names)}
    wanted = {"url": receiver, **{name: value for name, value in given.items() if value}}
    made = client.post("/webhooks/subscriptions", wanted)
    if output.as_json:
        output.document(made)
        return
    output.line(f"{made['url']} gets {', '.join(made['events'])} (subscription {made['subscription_id']}).")


@webhooks.command()
@calls_service
def subscriptions(client: Client, output: Output) -> None:
    """List the subscriptions to events."""
    found = client.get("/webhooks/subscriptions")
    if output.as_json:
        output.document(found)
        return
    rows = [
        (
            each["subscription_id"],
            each["url"],
            ", ".join(each["events"]),
            ", ".join(each["endpoint_names"] or ["all"]),
            local_time(each["created_at"]),
            each["by"],
        )
        for each in found["subscriptions"]
    ]
    output.table(["SUBSCRIPTION", "CALLBACK URL", "EVENTS", "ENDPOINTS", "CREATED", "BY"], rows, "There are none.")


@webhooks.command()
@click.argument("subscription_id")
@calls_service
def unsubscribe(client: Client, output: Output, subscription_id: str) -> None:
    """End a subscription; webhooks that wait for their next attempt are still sent."""
    client.delete(path_of("webhooks", "subscriptions", subscription_id))
    if output.as_json:
        output.document({})
        return
    output.line(f"Subscription {subscription_id} has ended.")


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
