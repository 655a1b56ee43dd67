"""Threads that must not block: what would make one wait raises WouldBlock there, before it does anything.

An event loop's thread runs the same checks as other threads. What it needs is nearly always in memory; when it is not,
the caller catches WouldBlock and runs the checks again in a thread that may wait.
"""

from __future__ import annotations

import os
import threading

_unblocked: set[int] = set()
os.register_at_fork(after_in_child=_unblocked.clear)


class WouldBlock(Exception):
    """The thread of an event loop was about to wait for something."""


def forbid() -> None:
    """Forbid the current thread to wait, until `allow`."""
    _unblocked.add(threading.get_ident())


def allow() -> None:
    """Let the current thread wait again."""
    _unblocked.discard(threading.get_ident())


def is_forbidden() -> bool:
    """Tell whether the current thread must not wait."""
    return threading.get_ident() in _unblocked


def check() -> None:
    """Raise WouldBlock if the current thread must not wait."""
    if threading.get_ident() in _unblocked:
        raise WouldBlock
