"""How log lines look: text, or one JSON object a line with the ids of the request, the job and the endpoint.

What a line is about is bound once, where the work begins, and holds for everything that is logged in it. In text, what
begins with no blank is a record of its own: whatever clients and models put into a record stays within it.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any

from workers.platform.texts import indented

_about: ContextVar[Mapping[str, Any]] = ContextVar("queuecast_log_about")
#: What a line may be about, in this order: bound, or given as `extra`.
_FIELDS = (
    "request_id", "trace_id", "job_id", "job_ids", "endpoint_name", "method", "path", "status", "duration_ms",
)  # fmt: skip
#: The forms of log lines: as Celery has them, or one JSON object a line.
TEXT, JSON = "text", "json"


def begin(**about: Any) -> None:
    """Say what the lines of this thread or task are about from now on, and nothing else."""
    _about.set({name: value for name, value in about.items() if value is not None})


def bind(**about: Any) -> None:
    """Add to what the lines of this thread or task are about."""
    _about.set({**_about.get({}), **{name: value for name, value in about.items() if value is not None}})


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `process` says which of ours it is."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
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


class TextFormatter(logging.Formatter):
    """Formats like another formatter, but indents a record's lines after the first and escapes control characters."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or the lines."""
        plain = copy.copy(record)
        plain.msg, plain.args = indented(record.getMessage()), None
        # A formatter uses these texts if they are set.
        if record.exc_info:
            plain.exc_text = indented(f"\n{self._inner.formatException(record.exc_info)}")[1:]
        if record.stack_info:
            plain.stack_info = indented(f"\n{record.stack_info}")[1:]
        return self._inner.format(plain)


def set_form(log_format: str, process: str, text: str) -> None:
    """Give all lines of this process their form; `text` is the one that isn't JSON."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter(text))
    set_form_of(logging.getLogger(), log_format, process)


def set_form_of(logger: logging.Logger, log_format: str, process: str) -> None:
    """Set the format of a logger: JSON, or its present text format with lines that can't be forged."""
    for handler in logger.handlers:
        if log_format == JSON:
            handler.setFormatter(JsonFormatter(process))
        elif not isinstance(handler.formatter, TextFormatter):
            handler.setFormatter(TextFormatter(handler.formatter or logging.Formatter()))
