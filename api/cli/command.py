"""The `queuecast` command itself: its subcommands and its help."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import Any

import click

from api.cli import columns

_CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


#: The module of each command; where the command itself has another name than that, it is behind a colon.
_MODULES = {
    "aliases": "remote.models.aliases",
    "feedback": "remote.feedback",
    "artifacts": "remote.models.artifacts",
    "background": "local.processes",
    "backup": "local.backup",
    "configure": "remote.deployments.changes",
    "dead-letters": "remote.jobs.dead_letters:dead_letters",
    "deploy": "remote.deployments.deployments",
    "deployments": "remote.deployments.deployments",
    "docs": "local.docs",
    "drift": "remote.monitoring",
    "evaluate": "remote.evaluating",
    "evaluations": "remote.evaluating",
    "flower": "local.processes",
    "history": "remote.deployments.changes",
    "jobs": "remote.jobs.jobs",
    "journal": "remote.journal",
    "keys": "local.keys",
    "migrate": "local.processes",
    "models": "remote.models.models",
    "notifier": "local.processes",
    "predict": "remote.jobs.predictions",
    "quality": "remote.monitoring",
    "registry": "local.registry",
    "restore": "local.backup",
    "rollback": "remote.deployments.changes",
    "rollout": "remote.deployments.rollouts",
    "run": "local.run",
    "shadow": "remote.deployments.rollouts",
    "stats": "remote.deployments.stats",
    "status": "remote.status",
    "undeploy": "remote.deployments.deployments",
    "web": "local.processes",
    "webhooks": "remote.webhooks",
    "worker": "local.processes",
}


@cache
def _command(name: str) -> click.Command:
    module, _, attribute = _MODULES[name].partition(":")
    command = getattr(import_module(f"api.cli.{module}"), attribute or name)
    assert isinstance(command, click.Command)  # noqa: S101 - narrows the type
    columns.explain(name, command)
    return command


class _Commands(click.Group):
    """Imports a command when it is called: the libraries of all of them take longer to load than most run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return _command(cmd_name) if cmd_name in _MODULES else None


@click.group(cls=_Commands, context_settings=_CONTEXT)
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
    The processes of the service, which `queuecast run` starts together:
      queuecast migrate | web | worker | background | flower

    \b
    The documentation of this release:
      queuecast docs
      queuecast docs http

    \b
    Exit codes:
      0  done                       3  the service can't be reached or isn't ready
      1  refused, or the job failed 4  not done within --timeout
      2  wrong usage
    Of an evaluation: 0 the same or better, 5 it differs, 6 it is worse, 7 too few jobs to decide
    """


def main() -> None:
    """Run the command; the console script."""
    try:
        queuecast(prog_name="queuecast")
    except BrokenPipeError:  # the reader, e.g. `head`, has seen enough
        sys.stderr.close()
        sys.exit(1)
