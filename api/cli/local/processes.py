"""`queuecast web`, `worker`, `background`, `flower`, `migrate`: the processes of the service, each in the foreground.

The command becomes the process: signals, the process's number and its memory are those of the process alone. So a
supervisor needs no shell around it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

#: Passed on as they are, after the defaults, and so win over them.
_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True}
#: What each of the two Celery workers gets before the options of its caller.
_OF_A_CELERY_WORKER = ("-E", "--without-gossip", "--without-mingle", "--loglevel", "INFO")
_WORKER = ("--pool", "solo", "--concurrency", "1", *_OF_A_CELERY_WORKER)
_BACKGROUND = ("--pool", "threads", "--concurrency", "16", *_OF_A_CELERY_WORKER)

_celery_options = click.argument("celery_options", nargs=-1, type=click.UNPROCESSED, metavar="[CELERY OPTIONS]…")


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where it listens; QUEUECAST_HOST, or else 127.0.0.1.")
@click.option("--port", metavar="NUMBER", help="QUEUECAST_PORT, or else 8000.")
def web(host: str | None, port: str | None) -> None:
    """Serve the HTTP API and the console.

    In the foreground; SIGTERM or Ctrl-C ends it. It needs the Redis of QUEUECAST_REDIS_URL and the
    registry of DATABASE_URL (or QUEUECAST_DATA_DIR), which `queuecast migrate` prepares. On another
    address than loopback it asks for keys. QUEUECAST_API_PROCESSES=4 starts three more processes on the
    port. `queuecast docs settings` has all variables.

    \b
      queuecast web
      QUEUECAST_HOST=0.0.0.0 queuecast web --port 80
    """
    become("api.serve", [], QUEUECAST_HOST=host, QUEUECAST_PORT=port)


@click.command(context_settings=_PASSED_ON)
@click.option("--group", metavar="NAME",
              help="Serve the deployments of this group; QUEUECAST_WORKER_GROUP, or else default.")  # fmt: skip
@_celery_options
def worker(group: str | None, celery_options: tuple[str, ...]) -> None:
    """Run a worker, which loads models and predicts.

    It serves the deployments of its group, in the foreground. SIGTERM ends it once running predictions
    are done (QUEUECAST_SHUTDOWN_GRACE_S), and its other jobs go back to their queues. Start as many as
    you like, on any machine that reaches Redis, the registry and the artifacts; each needs a --hostname
    of its own.

    Options of Celery's worker go on to it, after those that it gets anyway:
    --pool solo --concurrency 1 -E --without-gossip --without-mingle --loglevel INFO
    --hostname worker-<number of the process>@<machine>. `queuecast worker -- --help` lists them.

    \b
      queuecast worker
      queuecast worker --group gpu --hostname gpu-1@%h --loglevel WARNING
    """
    become("workers.serve", [*_WORKER, *_named("worker"), *celery_options], QUEUECAST_WORKER_GROUP=group)


@click.command(context_settings=_PASSED_ON)
@_celery_options
def background(celery_options: tuple[str, ...]) -> None:
    """Run a background process: webhooks, journal, rollouts.

    It also makes evaluations and watches quality and drift. It loads no models. One is enough; more of
    them share the work, each with a --hostname of its own. Webhooks need QUEUECAST_WEBHOOK_SECRETS; the
    rest runs without.

    Options of Celery's worker go on to it, after those that it gets anyway: --pool threads
    --concurrency 16 -E --without-gossip --without-mingle --loglevel INFO --hostname background-<number
    of the process>@<machine>. `queuecast background -- --help` lists them.

    \b
      queuecast background
      queuecast background --concurrency 64 --hostname background-1@%h
    """
    become("workers.background", [*_BACKGROUND, *_named("background"), *celery_options])


@click.command(context_settings=_PASSED_ON, hidden=True)
@_celery_options
def notifier(celery_options: tuple[str, ...]) -> None:
    """Run a background process, which had this name before; use `queuecast background`."""
    become("workers.background", [*_BACKGROUND, *_named("background"), *celery_options])


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where it listens; QUEUECAST_FLOWER_HOST, or else 127.0.0.1.")
@click.option("--port", metavar="NUMBER", help="QUEUECAST_FLOWER_PORT, or else 5555.")
def flower(host: str | None, port: str | None) -> None:
    """Run Flower, which shows jobs and workers in a browser.

    On another address than loopback it wants QUEUECAST_FLOWER_PASSWORD, because it shows every input;
    its user is `queuecast`. Flower's own FLOWER_… variables hold.

    \b
      queuecast flower
      QUEUECAST_FLOWER_PASSWORD=… queuecast flower --host 0.0.0.0
    """
    become("workers.flower", [], QUEUECAST_FLOWER_HOST=host, QUEUECAST_FLOWER_PORT=port)


@click.command()
def migrate() -> None:
    """Create the tables of the registry, or update them.

    The other processes need that. For the database of DATABASE_URL, or else registry.db in
    QUEUECAST_DATA_DIR. Run it once before the first start and before each new release: the release
    before goes on working with the new tables. Several at once do no harm.
    """
    # Late: the other commands need no database.
    from registry import migrate as migration

    sys.exit(migration.main())


def _named(kind: str) -> tuple[str, str]:
    """Return a node name that no other process on this machine has."""
    return "--hostname", f"{kind}-{os.getpid()}@%h"


def become(module: str, arguments: Sequence[str], **variables: str | None) -> NoReturn:
    """Replace this program by one of ours; variables that are None stay as they are."""
    os.environ.update({name: value for name, value in variables.items() if value is not None})
    sys.stdout.flush()
    # Safe path: a file celery.py or a folder api/ where the command is called must not stand in for a library.
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606 - our own arguments
