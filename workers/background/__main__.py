"""`python -m workers.background`: the background process, with the options of Celery's own worker command.

`queuecast background` becomes this program, and `celery -A workers.background.app worker` starts the same process.
"""

from __future__ import annotations

from workers.background.app import app
from workers.platform.celery_command import run_worker

if __name__ == "__main__":
    run_worker(app, None, "queuecast background --")
