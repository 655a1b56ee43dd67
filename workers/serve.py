"""`python -m workers.serve`: a worker, with the options of Celery's own worker command.

`celery -A workers.app worker` starts the same worker. But Celery's command line first imports all its other commands
and the plugins of installed packages (a shell, Flower), which take a worker 12 MiB and a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Sequence

from celery.bin.base import CLIContext
from celery.bin.worker import worker

from workers.app import app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a worker with the given options, by default the program's; exit the program at its end."""
    context = CLIContext(app=app, no_color=False, workdir=None)
    # The variables of options are the same as for `celery worker`.
    worker.main(arguments, prog_name="python -m workers.serve", obj=context, auto_envvar_prefix="CELERY_WORKER")


if __name__ == "__main__":
    main()
