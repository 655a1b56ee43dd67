"""Gives up what is under way for clients that have closed their connections, and so can't receive an answer."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

#: A request is watched once it has lasted for this time, or twice as long: most have ended by then.
_LOOK_S = 0.5


class Departures:
    """Cancels the task of a request when its client has gone; of one event loop."""

    def __init__(self) -> None:
        #: The connections of requests that came before the last look, and since.
        self._older: dict[asyncio.Task[Any], Any] = {}
        self._newer: dict[asyncio.Task[Any], Any] = {}
        self._watching: dict[asyncio.Task[Any], asyncio.Task[None]] = {}
        self._gone: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, task: asyncio.Task[Any], proto: Any) -> None:
        """Cancel a task, which answers a request, when its client goes away."""
        self._newer[task] = proto
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def remove(self, task: asyncio.Task[Any]) -> bool:
        """Cancel it no more; return whether its client has gone."""
        if self._newer.pop(task, None) is None and self._older.pop(task, None) is None:
            watch = self._watching.pop(task, None)
            if watch is not None:
                watch.cancel()
        if task in self._gone:
            self._gone.discard(task)
            return True
        return False

    def _look(self) -> None:
        for task, proto in self._older.items():
            self._watching[task] = watch = asyncio.ensure_future(until_gone(proto))
            watch.add_done_callback(partial(self._ended, task))
        self._older, self._newer = self._newer, {}
        self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look) if self._older else None

    def _ended(self, task: asyncio.Task[Any], watch: asyncio.Task[None]) -> None:
        if not watch.cancelled() and task in self._watching:
            self._gone.add(task)
            task.cancel()


async def until_gone(proto: Any) -> None:
    """Return when the client of a request has closed its connection."""
    await proto.client_disconnect()
