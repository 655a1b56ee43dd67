"""What a model raised, made short and safe: not even the text of its errors is trusted."""

from __future__ import annotations

import traceback

_MESSAGE_LIMIT = 2_000
_NAME_LIMIT = 200
_TRACEBACK_LIMIT = 10_000


def flat(error: BaseException) -> dict[str, str]:
    """Return an exception as it crosses the process boundary: type and message, both text and not long."""
    return {"type": _safe(type(error).__name__, _NAME_LIMIT), "message": _message(error)}


def trace(error: BaseException) -> str:
    """Return an exception with its traceback, for this process's log."""
    try:
        return _safe("".join(traceback.format_exception(error)), _TRACEBACK_LIMIT)
    except BaseException as another:  # noqa: BLE001 - formatting calls the model's code
        return f"{type(error).__name__}, whose traceback can't be shown ({type(another).__name__})"


def _message(error: BaseException) -> str:
    try:
        return _safe(str(error), _MESSAGE_LIMIT)
    except BaseException as another:  # noqa: BLE001 - str() calls the model's code
        return f"(its text can't be shown: {type(another).__name__})"


def _safe(text: str, limit: int) -> str:
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return shown.encode(errors="replace").decode()
