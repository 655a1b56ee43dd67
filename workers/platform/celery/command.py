"""Runs Celery's worker command on an app of ours, with none of Celery's other commands and plugins.

`celery -A … worker` first imports all of these (a shell, Flower), which take a worker 12 MiB and a quarter of a second.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from celery import Celery
from celery.bin.base import CLIContext
from celery.bin.worker import worker

from registry.errors import RegistryError
from workers.errors import WorkerError


def run_worker(
    app: Celery, arguments: Sequence[str] | None, program: str, *, settings: Sequence[Callable[[], object]]
) -> None:
    """Run a worker with the given options, by default the program's; exit the program at its end.

    A wrong setting is named on stderr, and the exit code is 1: Celery would write a traceback, or run without.

    Args:
        app: what the worker runs.
        arguments: options of `celery worker`.
        program: its name in messages about wrong options.
        settings: what reads the settings that the worker needs, and raises an error that names a wrong one.
    """
    try:
        for read in settings:
            read()
    except (RegistryError, WorkerError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's output
        sys.exit(1)
    context = CLIContext(app=app, no_color=False, workdir=None)
    # The variables of options are the same as for `celery worker`.
    worker.main(arguments, prog_name=program, obj=context, auto_envvar_prefix="CELERY_WORKER")
