"""`queuecast status`: shows whether the service is ready, and its deployments."""

from __future__ import annotations

import sys

import click

from api.cli.client import Client, Document
from api.cli.errors import ExitCode, LimitExceeded
from api.cli.options import calls_service
from api.cli.output import Output
from api.cli.remote.deployments.deployments import show_table

#: What a deployment can be, as the API shows it.
_STATUSES = (
    "deploying", "building environment", "active", "asleep", "loading", "degraded", "failed", "draining", "parked",
)  # fmt: skip


def _statuses(_ctx: click.Context, _option: click.Parameter, value: str | None) -> list[str]:
    named = [each.strip() for each in (value or "").split(",") if each.strip()]
    if unknown := sorted(set(named) - set(_STATUSES)):
        raise click.BadParameter(f"{', '.join(unknown)}: not one of {', '.join(_STATUSES)}.")
    return named


@click.command()
@click.option(
    "--fail-on",
    metavar="STATUS,…",
    callback=_statuses,
    help=f"Exit code 1 if a deployment has one of these statuses: {', '.join(_STATUSES)}.",
)
@calls_service
def status(client: Client, output: Output, fail_on: list[str]) -> None:
    """Show whether the service is ready, and what it serves; exit code 3 if it isn't ready.

    \b
    Examples:
      queuecast status
      queuecast status --fail-on degraded,failed     # for a cron job that sends a mail on an exit code
    """
    health = client.readiness()
    ready = health.get("status") == "ready"
    views = client.get("/deployments")["deployments"] if ready else []
    if output.as_json:
        output.document({"url": client.url, **health, "deployments": views})
    else:
        output.facts({"service": client.url, "status": health.get("status"), **_parts(health)})
        if ready:
            output.line("")
            show_table(output, views)
    if not ready:
        sys.exit(ExitCode.UNAVAILABLE)
    if bad := [view for view in views if view["status"] in fail_on]:
        names = ", ".join(f"{view['endpoint_name']} is {view['status']}" for view in bad)
        raise LimitExceeded(f"{names}.", {"endpoint_names": [view["endpoint_name"] for view in bad]})


def _parts(health: Document) -> Document:
    return {
        name: part.get("status") if part.get("status") == "ready" else part.get("detail")
        for name, part in health.get("parts", {}).items()
    }
