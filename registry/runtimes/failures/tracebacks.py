"""Short tracebacks of a model's code, for the record of a failed job.

They have the lines of the model's code, and of the libraries that it calls, but no values, and no folders of this
machine. The text that they end with is the message of the error, which the record has too.
"""

from __future__ import annotations

import linecache
import os
from types import FrameType, TracebackType

from registry.runtimes.failures.exceptions import type_and_message

#: A record keeps the last lines, up to so many bytes.
LARGEST_BYTES = 4_096
#: Most calls of one error, the innermost ones; a recursion has more.
_MOST_FRAMES = 24
_MOST_ERRORS = 4
_LONGEST_LINE = 200
#: Modules that call the model; a failed job's owner can't change them.
_OURS = ("registry.runtimes.", "registry.hosting.", "workers.hosts.")
#: What precedes the name of a package in the path of its file.
_PACKAGES = ("/site-packages/", "/dist-packages/")
_OMITTED = "…\n".encode()
_HEAD = "Traceback (most recent call last):"
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"


def last_lines(error: BaseException, most_bytes: int = LARGEST_BYTES) -> str:
    """Return the last lines of an exception's traceback; "" if no code of a model was called, or it can't be shown."""
    try:
        lines = _lines(error, _MOST_ERRORS)
        return _cut(lines, most_bytes) if any(line.startswith("  File ") for line in lines) else ""
    except BaseException:  # noqa: BLE001 - attributes of the exception may be code of the model
        return ""


def _lines(error: BaseException, most_errors: int) -> list[str]:
    """Return the lines of an exception, after those of the one that it was caused by."""
    cause = error.__cause__
    before = cause if cause is not None or error.__suppress_context__ else error.__context__
    lines: list[str] = []
    if before is not None and most_errors > 1:
        lines = [*_lines(before, most_errors - 1), "", _CONTEXT if cause is None else _CAUSE, ""]
    found = type_and_message(error)
    return [*lines, _HEAD, *_frames(error.__traceback__), f"{found['type']}: {found['message']}"]


def _frames(trace: TracebackType | None) -> list[str]:
    calls: list[tuple[FrameType, int]] = []
    while trace is not None:
        if not str(trace.tb_frame.f_globals.get("__name__", "")).startswith(_OURS):
            calls.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    lines = ["  …"] if len(calls) > _MOST_FRAMES else []
    for frame, number in calls[-_MOST_FRAMES:]:
        code = frame.f_code
        lines.append(f'  File "{_shown(code.co_filename)}", line {number}, in {code.co_name}')
        if source := linecache.getline(code.co_filename, number, frame.f_globals).strip():
            lines.append(f"    {source[:_LONGEST_LINE]}")
    return lines


def _shown(path: str) -> str:
    """Return a path without the folders of this machine, or of the machine where the model was saved."""
    for before in _PACKAGES:
        if before in path:
            return path.rpartition(before)[2]
    return os.path.basename(path.replace("\\", "/"))  # noqa: PTH119 - it need not be a path of this system


def _cut(lines: list[str], most_bytes: int) -> str:
    """Return the last lines with at most so many bytes in UTF-8; of a longer last line, its beginning."""
    text = "\n".join(lines).encode(errors="replace")
    if len(text) <= most_bytes:
        return text.decode()
    _, newline, whole = text[len(_OMITTED) - most_bytes :].partition(b"\n")
    if newline:
        return (_OMITTED + whole).decode(errors="ignore")
    return lines[-1].encode(errors="replace")[:most_bytes].decode(errors="ignore")
