"""Runs Celery's worker command on an app of ours, with none of Celery's other commands and plugins.

`celery -A … worker` first imports all of these (a shell, Flower), which take a worker 12 MiB and a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Sequence

from celery import Celery
from celery.bin.base import CLIContext
from celery.bin.worker import worker


def run_worker(app: Celery, arguments: Sequence[str] | None, program: str) -> None:
    """Run a worker with the given options, by default the program's; exit the program at its end.

    Args:
        app: what the worker runs.
        arguments: options of `celery worker`.
        program: its name in messages about wrong options.
    """
    context = CLIContext(app=app, no_color=False, workdir=None)
    # The variables of options are the same as for `celery worker`.
    worker.main(arguments, prog_name=program, obj=context, auto_envvar_prefix="CELERY_WORKER")
