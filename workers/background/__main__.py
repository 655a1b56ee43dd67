"""`python -m workers.background`: the background process, with the options of Celery's own worker command.

`queuecast background` becomes this program, and `celery -A workers.background.app worker` starts the same process.
"""

from __future__ import annotations

from registry.database import default_database
from workers import settings
from workers.background.app import app
from workers.platform.celery.command import run_worker
from workers.webhooks import settings as webhook_settings

if __name__ == "__main__":
    needed = (settings.load, webhook_settings.load, default_database)
    run_worker(app, None, "queuecast background --", settings=needed)
