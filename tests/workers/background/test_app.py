"""The background process: its duties, and the name that it had."""

from __future__ import annotations

import importlib

import pytest

from workers.background import app as background


def test_the_old_name_starts_the_same_process() -> None:
    notifier = importlib.import_module("workers.webhooks.notifier")
    assert notifier.app is background.app


def test_the_journal_is_moved_and_versions_are_evaluated_without_webhooks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [duty.name for duties in background.DUTIES for duty in duties()]
    assert names == [
        *("moving the journal", "evaluating versions", "evaluating versions"),
        *("deciding rollouts", "comparing the answers of candidates"),
        *("computing quality by feedback", "computing drift"),
        "publishing successors of jobs",
        *("keeping the names of endpoints", "failing jobs for unknown endpoints"),
        "advancing pipelines",
    ]
