"""Hands items over together: those of one turn of the event loop, and those that came while earlier ones were busy."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar

_log = logging.getLogger(__name__)


class Answered(Protocol):
    """An item whose caller waits for its answer."""

    @property
    def answer(self) -> asyncio.Future[Any]:
        """Done once there is an answer, or an error."""


Item = TypeVar("Item", bound=Answered)


class Gathering(Generic[Item]):
    """Nothing waits for more to come: a group is what is there when the loop gets round.

    Args:
        hand_over: takes a group, and answers each item; an error of its own is the error of all that are left.
        most_items: in one group.
        most_bytes: in one group, unless a single item has more.
        most_under_way: groups at once; further items wait, and make larger groups.
    """

    def __init__(
        self,
        hand_over: Callable[[list[Item]], Awaitable[None]],
        *,
        most_items: int,
        most_bytes: int = 0,
        most_under_way: int,
    ) -> None:
        self._hand_over = hand_over
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._most_under_way = most_under_way
        self._waiting: deque[tuple[Item, int]] = deque()
        self._is_scheduled = False
        self._under_way: set[asyncio.Task[None]] = set()
        #: Of all items that wait.
        self.waiting_bytes = 0

    def add(self, item: Item, size_bytes: int = 0) -> None:
        """Add an item to the next group."""
        self._waiting.append((item, size_bytes))
        self.waiting_bytes += size_bytes
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled and len(self._under_way) < self._most_under_way:
            self._is_scheduled = True
            # Not in the context of the request that came first: log lines would be about that one.
            task = asyncio.get_running_loop().create_task(self._run(), context=Context())
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    async def _run(self) -> None:
        """Hand over what is there now, a turn of the loop after its first item came."""
        self._is_scheduled = False
        group = self._next_group()
        if self._waiting:
            self._schedule()
        try:
            await self._hand_over(group)
        except BaseException as error:
            for item in group:
                if not item.answer.done():
                    item.answer.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            raise

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("a group was not handed over", exc_info=error)
        if self._waiting:
            self._schedule()

    def _next_group(self) -> list[Item]:
        group: list[Item] = []
        size_bytes = 0
        while self._waiting and len(group) < self._most_items:
            item, item_bytes = self._waiting[0]
            if group and self._most_bytes and size_bytes + item_bytes > self._most_bytes:
                break
            self._waiting.popleft()
            group.append(item)
            size_bytes += item_bytes
        self.waiting_bytes -= size_bytes
        return group
