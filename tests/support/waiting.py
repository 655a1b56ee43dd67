"""Waiting on a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
#: How long an event loop may take for what needs no other process: less than a lease of the tests lasts.
_SOON_S = 15.0


def eventually(
    predicate: Callable[[], T], timeout_s: float = 10.0, *, interval_s: float = 0.02, message: str = ""
) -> T:
    """Return the first true value of `predicate`; one that asserts counts as not true yet.

    On a machine that is asked for more than it has, `timeout_s` is as many times longer.

    Raises:
        AssertionError: it was never true in `timeout_s`; says what it was last.
    """
    timeout_s *= _patience()
    ends_at = time.monotonic() + timeout_s
    while True:
        try:
            value = predicate()
            last = f"last value: {value!r:.2000}"
            if value:
                return value
        except AssertionError as error:
            last = f"last assertion: {error}"
        if time.monotonic() > ends_at:
            raise AssertionError(f"{message or 'not true'} within {timeout_s:g} s; {last}")
        time.sleep(interval_s)


async def until(true: Callable[[], object]) -> None:
    """Let the event loop run until something is true. Raises TimeoutError."""
    async with asyncio.timeout(_SOON_S):
        while not true():
            await asyncio.sleep(0.002)


async def until_done(work: Awaitable[T]) -> T:
    """Wait for something that ends soon. Raises TimeoutError."""
    async with asyncio.timeout(_SOON_S):
        return await work


def _patience() -> float:
    """How many times longer things may take: 1 while no more than two processes want each core, as in `make test`."""
    return max(1.0, os.getloadavg()[0] / (2 * (os.cpu_count() or 1)))
