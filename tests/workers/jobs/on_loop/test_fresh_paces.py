"""The paces of endpoints are read beside the event loop, and submits wait for them only when there are none."""

from __future__ import annotations

import asyncio
import threading

import pytest

from workers.jobs.on_loop.fresh_paces import FreshPaces
from workers.measures import paces


class SlowPaces:
    """Paces that are due, and whose reading takes until it is let go on."""

    def __init__(self, *, usable: bool) -> None:
        self._usable = usable
        self.goes_on = threading.Event()
        self.reads = 0

    def is_due(self, _endpoint_name: str) -> bool:
        return True

    def is_usable(self, _endpoint_name: str) -> bool:
        return self._usable

    def of(self, _endpoint_name: str) -> None:
        self.goes_on.wait(10)
        self.reads += 1


def _use(monkeypatch: pytest.MonkeyPatch, *, usable: bool) -> SlowPaces:
    slow = SlowPaces(usable=usable)
    monkeypatch.setattr(paces, "default_paces", lambda: slow)
    return slow


def test_callers_use_the_last_paces_while_one_read_for_all_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = _use(monkeypatch, usable=True)

    async def main() -> None:
        fresh = FreshPaces()
        async with asyncio.timeout(5):
            waited = [await fresh.read("adder") for _ in range(3)]
        assert waited == [False] * 3
        assert slow.reads == 0
        slow.goes_on.set()
        async with asyncio.timeout(5):
            while not slow.reads:
                await asyncio.sleep(0.01)
        fresh.close()

    asyncio.run(main())
    assert slow.reads == 1


def test_a_caller_waits_for_paces_that_have_never_been_read(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = _use(monkeypatch, usable=False)

    async def main() -> None:
        fresh = FreshPaces()
        reading = asyncio.create_task(fresh.read("adder"))
        await asyncio.sleep(0)
        assert not reading.done()
        slow.goes_on.set()
        async with asyncio.timeout(5):
            assert await reading
        fresh.close()

    asyncio.run(main())
    assert slow.reads == 1
