"""Starts Python programs of ours, and makes child processes end with their parent, also when the parent is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of ours with this Python, which looks for it where this process does."""
    # `python -m` looks for libraries in the working directory first, unless it was told not to.
    safe_path = ["-P"] if sys.flags.safe_path else []
    return [sys.executable, *safe_path, "-m", module, *arguments]


def dies_with_parent() -> Callable[[], None] | None:
    """Return a `preexec_fn` after which the child gets SIGTERM when its parent dies; None where unknown.

    Linux watches the *thread* that starts the child, so start it from one that lives on.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # loaded here: after the fork little is safe
    parent_pid = os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent_pid:  # it died in between, so no signal will come
            os._exit(1)

    return prepare


def end_with_parent(parent_pid: int) -> None:
    """Have this process get SIGTERM when its parent dies, or at once if it has; nothing where that is unknown.

    As `dies_with_parent`, for a program of our own whose parent has threads: nothing runs between fork and exec.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGTERM)
