"""`python -m workers.serve`: a worker, with the options of Celery's own worker command.

`queuecast worker` becomes this program, and `celery -A workers.app worker` starts the same worker.
"""

from __future__ import annotations

from collections.abc import Sequence

from registry.database import default_database
from workers.app import app
from workers.platform.celery.command import run_worker
from workers.settings import load


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a worker with the given options, by default the program's; exit the program at its end."""
    run_worker(app, arguments, "queuecast worker --", settings=(load, default_database))


if __name__ == "__main__":
    main()
