"""Caches what this process has read from the registry, so that not every request reads it again.

Only what exists is cached: a new row is seen at once, a change within the time to live. While the registry can't be
reached, the last value counts, however old.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from registry.errors import RegistryUnavailable
from workers.platform.loops import blocking

Found = TypeVar("Found")


class RegistryCache(Generic[Found]):
    """A bounded map with a time to live; safe to use from many threads."""

    def __init__(self, ttl_s: float, *, max_entries: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._clock = clock
        self._entries: dict[Hashable, tuple[float, Found]] = {}
        self._generation = 0
        self._lock = Lock()

    def get(
        self, key: Hashable, read: Callable[[], Found], instead: Callable[[], Found | None] = lambda: None
    ) -> Found:
        """Return the cached value of `key`, or `read` it; errors of `read` are not cached.

        While the registry can't be reached, `instead` may supply a value that this process has never read, or None.

        Raises:
            WouldBlock: it has to be read, and this thread must not wait.
            RegistryUnavailable: the registry can't be reached, and neither the cache nor `instead` has an answer.
        """
        entry = self._entries.get(key)
        if entry is not None and self._clock() < entry[0]:
            return entry[1]
        blocking.check()
        generation = self._generation
        try:
            found = read()
        except RegistryUnavailable:
            known = instead() if entry is None else entry[1]
            if known is None:
                raise
            # Deployments keep serving while the registry is away, and not every job checks whether it is back.
            found = known
        except Exception:
            with self._lock:  # it is gone: it must not come back when the registry can't be reached
                self._entries.pop(key, None)
            raise
        with self._lock:
            # What was read before a `clear` may be older than the change that caused it.
            if generation == self._generation:
                if key not in self._entries and len(self._entries) >= self._max_entries:
                    self._entries.clear()
                self._entries[key] = (self._clock() + self._ttl_s, found)
        return found

    def clear(self) -> None:
        """Forget everything, after this process has changed something that must not be used any more."""
        self.outdate(lambda _: True)

    def outdate(self, is_gone: Callable[[Found], bool]) -> None:
        """Have every entry read again at its next use, after this process has changed something.

        Entries that are gone are forgotten. The others are used only while the registry can't be reached.
        """
        with self._lock:
            self._generation += 1
            self._entries = {key: (-math.inf, found) for key, (_, found) in self._entries.items() if not is_gone(found)}
