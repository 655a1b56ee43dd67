"""Makes event loops: asyncio's own, or uvloop's, which take less processor time.

What code has to mind on uvloop's: `loop.time()` and timers have whole milliseconds; a write to a transport after
`connection_lost` raises RuntimeError, where asyncio's drops it; and where ResourceWarning is an error, `loop.close()`
waits for ever for a transport that is still open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

ASYNCIO, UVLOOP = "asyncio", "uvloop"


def factory(wanted: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes loops as QUEUECAST_EVENT_LOOP says; the settings refuse uvloop where it isn't installed."""
    if wanted == ASYNCIO:
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


def name_of(loop: asyncio.AbstractEventLoop) -> str:
    """Return which kind of loop it is."""
    return UVLOOP if type(loop).__module__.partition(".")[0] == UVLOOP else ASYNCIO
