"""The `queuecast` command: a client of the HTTP API, and `queuecast run`; it imports nothing of the server."""

from __future__ import annotations

from api.cli.command import main

__all__ = ["main"]
