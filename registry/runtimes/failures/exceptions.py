"""Converts exceptions of models to short and safe texts; even their messages are not trusted."""

from __future__ import annotations

import sys
import traceback

_MESSAGE_LIMIT = 2_000
_NAME_LIMIT = 200
_TRACEBACK_LIMIT = 10_000


def type_and_message(error: BaseException) -> dict[str, str]:
    """Return the type and message of an exception as short texts, for another process."""
    return {"type": _safe(type(error).__name__, _NAME_LIMIT), "message": _message(error)}


def with_traceback(error: BaseException) -> str:
    """Return an exception with its traceback, for this process's log."""
    try:
        return _safe("".join(traceback.format_exception(type(error), error, error.__traceback__)), _TRACEBACK_LIMIT)
    except BaseException as another:  # noqa: BLE001 - formatting calls the model's code
        return f"{type(error).__name__}, whose traceback can't be shown ({type(another).__name__})"


def remedy(error: BaseException) -> str:
    """Return the remedy for code that is missing in this process, as sentences to append; else ""."""
    text = _message(error)
    if isinstance(error, ModuleNotFoundError) and sys.flags.isolated:  # a host in an environment
        return ". Add what is missing to the requirements of the version's environment, and register it again."
    if isinstance(error, ModuleNotFoundError):
        return (
            ". Install what is missing where workers run, as a package or in a folder on PYTHONPATH. Your own code is "
            "stored with the model if it is imported at the top of a module, not within a function."
        )
    if isinstance(error, (AttributeError, ImportError)) and "__main__" in text:
        return (
            ". The program that saved the model defines it, and the artifact has only its name. Register the model "
            "from that program by register() with the runtime sklearn or python, which includes the program's code, "
            "or put the code into a package that is installed where workers run."
        )
    return ""


def _message(error: BaseException) -> str:
    try:
        return _safe(str(error), _MESSAGE_LIMIT)
    except BaseException as another:  # noqa: BLE001 - str() calls the model's code
        return f"(its text can't be shown: {type(another).__name__})"


def _safe(text: str, limit: int) -> str:
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return shown.encode(errors="replace").decode()
