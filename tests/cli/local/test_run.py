"""What `queuecast run` refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.service.environment import forget_cached_settings


def test_wrong_settings_of_all_its_processes_are_named_before_anything_starts(
    command: Command, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://registry")
    monkeypatch.setenv("QUEUECAST_WEBHOOK_SECRETS", "short")
    monkeypatch.setenv("QUEUECAST_EVENT_ORIGINS", "shop.example")
    forget_cached_settings()
    refused = command("run")
    assert refused.exit_code == 1
    for name in ("QUEUECAST_WEBHOOK_SECRETS", "QUEUECAST_EVENT_ORIGINS"):
        assert name in refused.stderr
    assert "code=start_failed" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert list(data_dir.iterdir()) == []
