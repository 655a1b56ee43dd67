"""The console script `queuecast`, by a name that it has in a clone and installed."""

from __future__ import annotations


def main() -> None:
    """Run the command."""
    from api.cli import main as run

    run()
