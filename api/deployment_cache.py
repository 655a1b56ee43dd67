"""Deployments that this process has read lately, so that not every job asks the registry.

Only what exists is remembered: a new deployment is seen at once, a change within the time to live. While
the registry can't be asked, what was read last counts, however old.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from threading import Lock

from registry.deployments import DesiredDeployment
from registry.errors import RegistryUnavailable


class DeploymentCache:
    """A bounded map with a time to live; safe to use from many threads."""

    def __init__(self, ttl_s: float, *, max_entries: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._clock = clock
        self._entries: dict[Hashable, tuple[float, DesiredDeployment]] = {}
        self._generation = 0
        self._lock = Lock()

    def get(self, key: Hashable, read: Callable[[], DesiredDeployment]) -> DesiredDeployment:
        """Return what is remembered under `key`, or `read` it; errors of `read` are not remembered.

        Raises:
            RegistryUnavailable: the registry can't be asked, and it never answered this.
        """
        entry = self._entries.get(key)
        if entry is not None and self._clock() < entry[0]:
            return entry[1]
        generation = self._generation
        try:
            deployment = read()
        except RegistryUnavailable:
            if entry is None:
                raise
            # What is deployed goes on being served while the registry is away; and not every job asks
            # whether it is back, which may take as long as its time limit.
            deployment = entry[1]
        with self._lock:
            # What was read before a `clear` may be older than the change that caused it.
            if generation == self._generation:
                if key not in self._entries and len(self._entries) >= self._max_entries:
                    self._entries.clear()
                self._entries[key] = (self._clock() + self._ttl_s, deployment)
        return deployment

    def clear(self) -> None:
        """Forget everything: this process has changed a deployment."""
        with self._lock:
            self._generation += 1
            self._entries.clear()
