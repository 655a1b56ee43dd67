"""Things that a model changes in its process, and looks at what is left of them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any


def lower_the_recursion_limit() -> int:
    depth = len(list(iter_frames()))
    sys.setrecursionlimit(depth + 8)
    return depth


def iter_frames() -> Any:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


def change_folder() -> str:
    os.chdir("/")
    return str(Path.cwd())


def folder() -> str:
    return str(Path.cwd())


def _raise_at_signal(number: int, _frame: object) -> None:
    raise TimeoutError(f"signal {number}")


def change_signal_handlers() -> str:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, _raise_at_signal)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    return "changed"


def own_signal_handlers() -> list[int]:
    """The signals whose handler is ours."""
    return [number for number in signal.valid_signals() if signal.getsignal(number) is _raise_at_signal]


def close_standard_descriptors() -> str:
    for descriptor in range(3):
        os.close(descriptor)
    return "closed"


def close_standard_streams() -> str:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()
    return "closed"


def lose_standard_streams() -> str:
    vars(sys).update(stdout=None, stderr=None)
    return "lost"


def print_something() -> str:
    print("something to stdout")
    print("something to stderr", file=sys.stderr)
    os.write(1, b"something to 1\n")
    return str(Path("/proc/self/fd/1").readlink())


def print_megabytes() -> str:
    for stream in (sys.stdout, sys.stderr):
        for _ in range(20_000):
            print("a line of some length, as models that are under test print them", file=stream)
        stream.write("and one without an end " * 50_000)
    return "printed"


def write_garbage() -> str:
    for descriptor in (1, 2):
        os.write(descriptor, bytes(range(256)) * 1024)
    print("\ud800 is no character")
    return "written"


def needs_recursion(depth: int = 100) -> int:
    return 1 + needs_recursion(depth - 1) if depth else 0
