"""Waiting on a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    predicate: Callable[[], T], timeout_s: float = 10.0, *, interval_s: float = 0.02, message: str = ""
) -> T:
    """Return the first true value of `predicate`; one that asserts counts as not true yet.

    Raises:
        AssertionError: it was never true in `timeout_s`; says what it was last.
    """
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
