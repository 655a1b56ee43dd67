"""How log lines look: text, or one JSON object a line with the ids of the request, the job and the endpoint.

What a line is about is bound once, where the work begins, and holds for everything that is logged in it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

_about: ContextVar[Mapping[str, Any]] = ContextVar("queuecast_log_about")
#: What a line may be about, in this order: bound, or given as `extra`.
_FIELDS = (
    "request_id", "trace_id", "job_id", "job_ids", "endpoint_name", "method", "path", "status", "duration_ms",
)  # fmt: skip


class LogFormat(StrEnum):
    """The form of log lines."""

    #: As Celery has them.
    TEXT = "text"
    #: One JSON object a line.
    JSON = "json"


def begin(**about: Any) -> None:
    """Say what the lines of this thread or task are about from now on, and nothing else."""
    _about.set({name: value for name, value in about.items() if value is not None})


def bind(**about: Any) -> None:
    """Add to what the lines of this thread or task are about."""
    begin(**{**_about.get({}), **about})


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `process` says which of ours it is."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": self._process,
            "pid": record.process,
        }
        about = {**_about.get({}), **vars(record)}
        line.update((name, about[name]) for name in _FIELDS if about.get(name) is not None)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_form(log_format: LogFormat, process: str, text: str) -> None:
    """Give all lines of this process their form; `text` is the one that isn't JSON."""
    formatter = JsonFormatter(process) if log_format is LogFormat.JSON else logging.Formatter(text)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)
