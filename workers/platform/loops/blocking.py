"""Threads that must not block: what would make one wait raises WouldBlock there, before it does anything.

An event loop's thread runs the same checks as other threads. What it needs is nearly always in memory; when it is not,
the caller catches WouldBlock and runs the checks again in a thread that may wait.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import copy_context
from functools import lru_cache, partial
from typing import ParamSpec, TypeVar

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")

#: What is longer takes so long to parse or to write that an event loop's other work would notice.
LONG_BYTES = 64 * 1024
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


async def beside(
    size_bytes: int, function: Callable[_Arguments, _Result], *args: _Arguments.args, **named: _Arguments.kwargs
) -> _Result:
    """Call a function that works on so many bytes: here, or in another thread if they are many."""
    if size_bytes <= LONG_BYTES:
        return function(*args, **named)
    return await in_pool(_threads(), function, *args, **named)


async def in_pool(
    pool: Executor, function: Callable[_Arguments, _Result], *args: _Arguments.args, **named: _Arguments.kwargs
) -> _Result:
    """Call a function in a pool of threads, with the context of the caller, as `asyncio.to_thread` does in its own."""
    call = partial(copy_context().run, function, *args, **named)
    return await asyncio.get_running_loop().run_in_executor(pool, call)


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    # Python runs one of them at a time anyway.
    return ThreadPoolExecutor(4, "queuecast-beside")
