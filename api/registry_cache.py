"""What this process has read of the registry lately, so that not every request asks it.

Only what exists is remembered: what is new is seen at once, a change within the time to live. While
the registry can't be asked, what was read last counts, however old.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from registry.errors import RegistryUnavailable

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

    def get(self, key: Hashable, read: Callable[[], Found]) -> Found:
        """Return what is remembered under `key`, or `read` it; errors of `read` are not remembered.

        Raises:
            RegistryUnavailable: the registry can't be asked, and it never answered this.
        """
        entry = self._entries.get(key)
        if entry is not None and self._clock() < entry[0]:
            return entry[1]
        generation = self._generation
        try:
            found = read()
        except RegistryUnavailable:
            if entry is None:
                raise
            # What is deployed goes on being served while the registry is away; and not every job asks
            # whether it is back, which may take as long as its time limit.
            found = entry[1]
        with self._lock:
            # What was read before a `clear` may be older than the change that caused it.
            if generation == self._generation:
                if key not in self._entries and len(self._entries) >= self._max_entries:
                    self._entries.clear()
                self._entries[key] = (self._clock() + self._ttl_s, found)
        return found

    def clear(self) -> None:
        """Forget everything: this process has changed something."""
        with self._lock:
            self._generation += 1
            self._entries.clear()
