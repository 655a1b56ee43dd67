"""The name that the background process had: `celery -A workers.webhooks.notifier` starts it still."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """Return what `workers.background.app` has under this name; it stands above this room, so it is imported late."""
    return getattr(importlib.import_module("workers.background.app"), name)
