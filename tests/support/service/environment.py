"""The environment of test processes: nothing of the developer's own service leaks into a test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
#: What keeps something that it read from the environment, and how to forget it.
_CACHES = {
    "registry.settings": ["load"],
    "registry.database": ["default_database"],
    "workers.settings": ["load"],
    "workers.webhooks.settings": ["load"],
    "workers.measures.paces": ["default_paces"],
    "api.settings": ["load"],
    "api.cli.settings": ["load"],
}


def ours(name: str) -> bool:
    """Tell whether this variable steers Queuecast."""
    return name.startswith(("QUEUECAST_", "FLOWER_", "OTEL_")) or name == "DATABASE_URL"


def clean_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without Queuecast's variables, and with these."""
    kept = {name: value for name, value in os.environ.items() if not ours(name)}
    # Compiled modules make the start of every further process twice as fast.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "PYTHONUNBUFFERED": "1", **variables}


def forget_cached_settings() -> None:
    """Make the next look at the settings of this process read the environment again."""
    for module_name, functions in _CACHES.items():
        module = sys.modules.get(module_name)
        for function in functions if module else []:
            getattr(module, function).cache_clear()
