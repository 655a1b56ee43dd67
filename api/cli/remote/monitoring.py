"""`queuecast quality` and `queuecast drift`: how good answers are, by feedback, and whether inputs have changed."""

from __future__ import annotations

from typing import Any

import click

from api.cli.client import Client, Document, path_of
from api.cli.options import calls_service
from api.cli.output import Output, local_time

_MOMENT = "a time ago (24h, 30d), or a time in ISO 8601"


@click.command()
@click.argument("endpoint")
@click.option("--since", default="30d", show_default=True, help=f"Jobs that ended since: {_MOMENT}.")
@click.option("--until", help="Jobs that ended before: the same.")
@calls_service
def quality(client: Client, output: Output, endpoint: str, since: str, until: str | None) -> None:
    """Show how good the answers of ENDPOINT are, by feedback on its jobs: by version, and by UTC day.

    \b
      queuecast quality classifier_prod --since 30d
    """
    found = client.get(path_of("deployments", endpoint, "quality"), since=since, until=until)
    if output.as_json:
        output.document(found)
        return
    rows = [_row("all", each) for each in found["versions"]] + [_row(each["day"], each) for each in found["days"]]
    empty = f"No job of {endpoint} has feedback in this time. See `queuecast docs feedback-quality-drift`."
    output.table(["DAY", "VERSION", "FEEDBACK", "ACCURACY", "MAE", "RMSE"], rows, empty)
    if found.get("computed_at"):
        pending = found["pending_days"]
        more = f"; {pending} days are still to be computed" if pending else ""
        output.note(f"Computed at {local_time(found['computed_at'])}{more}.")


@click.command()
@click.argument("endpoint")
@calls_service
def drift(client: Client, output: Output, endpoint: str) -> None:
    """Show how inputs and answers of ENDPOINT have changed: the last 24 hours against its version's first jobs.

    The index is the population stability index of a field: below 0.1 little has changed, above 0.25 much. NOISE is
    about what it is without any change, by chance alone.
    """
    found = client.get(path_of("deployments", endpoint, "drift"))
    if output.as_json:
        output.document(found)
        return
    rows = [[each["field"], _figure(each["index"]), _figure(each["noise"])] for each in found["fields"]]
    output.table(["FIELD", "INDEX", "NOISE"], rows, found["reason"] or "")
    if rows and found["reason"]:
        output.note(found["reason"])


def _row(day: str, measures: Document) -> list[Any]:
    figures = [measures[name] for name in ("accuracy", "mae", "rmse")]
    return [day, measures["version"], measures["job_count"], *map(_figure, figures)]


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
