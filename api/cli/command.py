"""The `queuecast` command itself: its subcommands and its help."""

from __future__ import annotations

import sys
from typing import Any

import click

from api.cli import columns
from api.cli.local.backup import backup, restore
from api.cli.local.keys import keys
from api.cli.local.registry import registry
from api.cli.local.run import run
from api.cli.remote.aliases import aliases
from api.cli.remote.artifacts import artifacts
from api.cli.remote.changes import configure, history, rollback
from api.cli.remote.dead_letters import dead_letters
from api.cli.remote.deployments import deploy, deployments, undeploy
from api.cli.remote.jobs import jobs
from api.cli.remote.models import models
from api.cli.remote.predictions import predict
from api.cli.remote.stats import stats
from api.cli.remote.status import status
from api.cli.remote.webhooks import webhooks

_CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
@click.version_option(package_name="queuecast", prog_name="queuecast")
def queuecast() -> None:
    """Serve machine-learning models through queues.

    \b
    A first round, with the service running (`queuecast run` or `make run`):
      queuecast models list
      queuecast deploy binary_classifier --endpoint classifier_prod
      queuecast predict classifier_prod '[0.5, 0.8, 0.2]'
      queuecast deployments
      queuecast undeploy classifier_prod

    \b
    Exit codes:
      0  done                       3  the service can't be reached or isn't ready
      1  refused, or the job failed 4  not done within --timeout
      2  wrong usage
    """


_RUNNING = (run, status, keys, registry, artifacts, backup, restore)
_CHANGING = (deploy, configure, rollback, undeploy, deployments, history)
for _each in (models, aliases, *_CHANGING, stats, predict, jobs, dead_letters, webhooks, *_RUNNING):
    queuecast.add_command(_each)
columns.explain(queuecast)


def main() -> None:
    """Run the command; the console script."""
    try:
        queuecast(prog_name="queuecast")
    except BrokenPipeError:  # the reader, e.g. `head`, has seen enough
        sys.stderr.close()
        sys.exit(1)
