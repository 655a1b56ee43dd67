"""The threads in which the event loop calls what would block it."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from api.errors import ServerBusy
from api.process.job_loop import _Threads


class Body:
    """What a request has sent."""


def test_calls_for_clients_that_have_gone_count_until_a_thread_has_come_to_them() -> None:
    asyncio.run(_clients_go())


async def _clients_go() -> None:
    threads, goes_on, called = _Threads(1, "test"), threading.Event(), list[Body]()
    running = asyncio.create_task(threads.run(goes_on.wait))
    bodies = [Body() for _ in range(64)]
    held = [weakref.ref(each) for each in bodies]
    waiting = [asyncio.create_task(threads.run(called.append, each)) for each in bodies]
    try:
        await asyncio.sleep(0)
        await _is_busy(threads)
        for each in (running, *waiting):
            each.cancel()
        await asyncio.wait([running, *waiting])
        await _is_busy(threads)
        del bodies, waiting, each
        gc.collect()
        assert not any(each() for each in held), "what they sent is held no more"
    finally:
        goes_on.set()
    async with asyncio.timeout(10):
        while threads._taken:
            await asyncio.sleep(0.01)
    assert called == []
    assert await threads.run(lambda: 7) == 7


async def _is_busy(threads: _Threads) -> None:
    with pytest.raises(ServerBusy):
        async with asyncio.timeout(10):
            await threads.run(gc.collect)
