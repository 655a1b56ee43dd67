"""A desk on an event loop of its own, in a thread of its own, whose coroutines other threads run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import redis

from workers.jobs.on_loop.desk import Desk
from workers.jobs.on_loop.lookups import Found
from workers.jobs.on_loop.waits import Watch
from workers.jobs.query import JobView
from workers.platform.loops import blocking

_Result = TypeVar("_Result")


class LoopDesk:
    """A desk for other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        self.desk = self.run(self._begin())

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def wait(self, job_id: str, timeout_s: float, owner: str | None = None) -> JobView:
        return self.run(self.desk.waits.wait(job_id, timeout_s, owner))

    def wait_for_all(self, job_ids: Sequence[str], timeout_s: float) -> None:
        self.run(self.desk.waits.wait_for_all(job_ids, timeout_s))

    def look_up(self, job_ids: Sequence[str], owner: str | None = None) -> Found:
        return self.run(self.desk.look_up(job_ids, owner=owner))

    def listen(self) -> None:
        self.call(self.desk.waits.listen)

    def release(self) -> None:
        self.call(self.desk.waits.release)

    def call(self, function: Any, *args: Any) -> Any:
        async def called() -> Any:
            return function(*args)

        return self.run(called())

    @contextmanager
    def watching(self, job_id: str) -> Iterator[Watch]:
        context = self.desk.waits.watching(job_id)
        watch = self.call(context.__enter__)
        try:
            yield watch
        finally:
            self.call(context.__exit__, None, None, None)

    def watches(self) -> list[Watch]:
        found: list[Watch] = self.call(lambda: [watch for each in self.desk.waits._watches.values() for watch in each])
        return found

    def close(self) -> None:
        self.run(self.desk.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _begin(self) -> Desk:
        return Desk()

    def _live(self) -> None:
        blocking.forbid()
        try:
            self._loop.run_forever()
        finally:
            blocking.allow()


@pytest.fixture
def loop_desk(store: redis.Redis) -> Iterator[LoopDesk]:
    found = LoopDesk()
    yield found
    found.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(300) as pool:
        yield pool
