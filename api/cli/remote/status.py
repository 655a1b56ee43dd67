"""`queuecast status`: shows whether the service is ready, and its deployments."""

from __future__ import annotations

import sys

import click

from api.cli.client import Client, Document
from api.cli.errors import ExitCode
from api.cli.options import calls_service
from api.cli.output import Output
from api.cli.remote.deployments import show_table


@click.command()
@calls_service
def status(client: Client, output: Output) -> None:
    """Show whether the service is ready, and what it serves; exit code 3 if it isn't ready."""
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


def _parts(health: Document) -> Document:
    return {
        name: part.get("status") if part.get("status") == "ready" else part.get("detail")
        for name, part in health.get("parts", {}).items()
    }
