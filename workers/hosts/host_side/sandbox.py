"""Restores the process state that a model's code may change, before the host predicts the next rows."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TextIO

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD, signal.SIGPIPE)
#: `signal.getsignal` without its lookup of an enum member, which takes 20 times as long.
_handler_of: Callable[[int], Any] = importlib.import_module("_signal").getsignal
_STANDARD_INPUT, _STANDARD_OUTPUT, _STANDARD_ERROR = range(3)


class ProcessState:
    """The recursion limit, folder, signal handlers, alarm and standard streams at construction."""

    def __init__(self) -> None:
        self._recursion_limit = sys.getrecursionlimit()
        self._folder = os.open(".", os.O_RDONLY)
        self._handlers = {number: _handler_of(number) for number in _SIGNALS}
        self._has_alarm = signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0)
        self._log = os.dup(_STANDARD_ERROR)

    def restore(self) -> None:
        """Restore what has changed; takes a few microseconds if nothing has."""
        sys.setrecursionlimit(self._recursion_limit)  # first, since the rest calls functions
        if not self._has_alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)  # an alarm must not interrupt the host itself
        for number, handler in self._handlers.items():
            if handler is not None and _handler_of(number) is not handler:
                signal.signal(number, handler)
        os.fchdir(self._folder)
        self._reopen_streams()

    def _reopen_streams(self) -> None:
        for descriptor in (_STANDARD_INPUT, _STANDARD_OUTPUT, _STANDARD_ERROR):
            try:
                os.get_inheritable(descriptor)
            except OSError:  # noqa: PERF203 - three
                self._reopen(descriptor)
        for name, descriptor in (("stdout", _STANDARD_OUTPUT), ("stderr", _STANDARD_ERROR)):
            stream = getattr(sys, name, None)
            if stream is None or getattr(stream, "closed", False):
                setattr(sys, name, open_output(descriptor))

    def _reopen(self, descriptor: int) -> None:
        if descriptor == _STANDARD_INPUT:
            os.open(os.devnull, os.O_RDONLY)  # uses the lowest free descriptor
        else:
            os.dup2(self._log, descriptor)


def open_output(descriptor: int = _STANDARD_ERROR) -> TextIO:
    """Return a line-buffered text stream that accepts any text, and that doesn't close the descriptor."""
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
