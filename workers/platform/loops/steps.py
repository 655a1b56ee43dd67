"""Work on an event loop that others don't wait for: it is done in steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

#: A job comes by the event loop several times, and has its answer after some milliseconds.
_STEP_S = 0.001

_Item = TypeVar("_Item")


async def in_steps(items: Iterable[_Item]) -> AsyncIterator[_Item]:
    """Yield items, and let the event loop do what is ready whenever theirs has taken a millisecond."""
    began = time.monotonic()
    for each in items:
        yield each
        if time.monotonic() - began >= _STEP_S:
            await asyncio.sleep(0)
            began = time.monotonic()
