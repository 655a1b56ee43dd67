"""Bounds how many requests this process holds at once, with a share for each client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from workers.jobs import weights


class Slots:
    """A fixed number of slots; safe to use from many threads."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._lock = Lock()
        self._held: Counter[str | None] = Counter()

    @contextmanager
    def holding(self, name: str | None, *, shared: bool) -> Iterator[bool]:
        """Yield whether this client gets a slot; it keeps the slot until the block ends.

        `workers.jobs.weights` says who may take a `shared` slot; all clients without a name count as one.
        """
        if not self._take(name, shared=shared):
            yield False
            return
        try:
            yield True
        finally:
            with self._lock:
                self._held[name] -= 1
                self._held += Counter()  # drops the names that hold none

    def _take(self, name: str | None, *, shared: bool) -> bool:
        with self._lock:
            free = self.count - self._held.total()
            has_slot = weights.may_take(self._held[name], free) if shared else free > 0
            if has_slot:
                self._held[name] += 1
            return has_slot
