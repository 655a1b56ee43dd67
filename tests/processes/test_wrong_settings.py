"""Each process names a wrong setting in one line, and ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.service.environment import REPOSITORY, clean_environment

#: A wrong value for each class of settings, and for one that a library parses.
WORKERS, REGISTRY, DATABASE = "QUEUECAST_REDIS_URL=wrong", "QUEUECAST_DATA_DIR=~nobody-here/x", "DATABASE_URL=wrong"
WEBHOOKS, API = "QUEUECAST_WEBHOOK_RETRIES_S=x", "QUEUECAST_PORT=http"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("queuecast web", [API]),
        ("queuecast worker", [WORKERS, DATABASE]),
        ("queuecast background", [WEBHOOKS, REGISTRY]),
        ("queuecast flower", [WORKERS]),
        ("queuecast migrate", [DATABASE]),
        ("celery -A workers.background.app worker", [WORKERS]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_setting_is_named_without_a_traceback(command: str, settings: list[str], tmp_path: Path) -> None:
    for setting in settings:
        name, value = setting.split("=")
        environment = clean_environment(PYTHONPATH=str(REPOSITORY), QUEUECAST_DATA_DIR=str(tmp_path))
        done = subprocess.run(
            [sys.executable, "-m", *command.split()],
            env={**environment, name: value}, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        shown = done.stdout + done.stderr
        assert done.returncode == 1, f"{setting}: {shown}"
        assert name in shown.strip().splitlines()[-1]
        assert "Traceback" not in shown
