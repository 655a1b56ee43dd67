"""Supervises the engine's tasks: restarts them after errors, retries steps until Redis answers, cancels reliably."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from redis import RedisError

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")
#: Pauses before a restart of a task.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
#: Pauses before a retry of a step.
_FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 2.0
_CANCEL_AGAIN_S = 0.1


async def supervised(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` until it returns or is cancelled; log its errors and restart it."""
    loop = asyncio.get_running_loop()
    pause_s = FIRST_PAUSE_S
    while True:
        began = loop.time()
        try:
            await work()
        except Exception:  # noqa: BLE001 - any error: without this task the worker runs but doesn't serve
            _log.exception("%s failed; restarting it in %.1f s", what, pause_s)
        else:
            return
        await asyncio.sleep(pause_s)
        pause_s = FIRST_PAUSE_S if loop.time() - began > LONGEST_PAUSE_S else min(2 * pause_s, LONGEST_PAUSE_S)


async def cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended.

    One cancellation may be lost: redis-py sends under `asyncio.wait_for`, which up to Python 3.11 drops a cancellation
    that arrives just when the sending is done.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)


async def persistently(what: str, call: Callable[[], Awaitable[_Result]]) -> _Result:
    """Retry a step with Redis until it succeeds, however long Redis is away."""
    pause_s = _FIRST_RETRY_S
    while True:
        try:
            return await call()
        except (RedisError, OSError) as error:
            _log.warning("failed to %s (%s); retrying", what, error)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_RETRY_S)
