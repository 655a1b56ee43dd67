"""Remembers for a moment which queues were full, so that of many kept jobs for one of them not each is tried."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

#: For how long a queue that was full is not tried again.
REMEMBERED_S = 0.25
#: More queues are not remembered at a time.
_MOST = 10_000
#: Options that decide which limits a job is under.
_DECIDE = ("priority", "queue", "eta", "countdown")


def limits_of(endpoint_name: str, owner: str | None, options: Mapping[str, Any]) -> str:
    """Return what is the same for jobs that are under the same limits."""
    priority, queue, *times = (options.get(name) for name in _DECIDE)
    return repr((endpoint_name, owner, priority, queue, any(times)))


class FullQueues:
    """The queues that were full just now, by `limits_of`, as one process has found them."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def remember(self, limits: str) -> None:
        """A job under these limits was refused."""
        if len(self._until) >= _MOST:
            self._until.clear()
        self._until[limits] = time.monotonic() + REMEMBERED_S

    def have(self, limits: str) -> bool:
        """Tell whether a job under these limits was refused just now."""
        return time.monotonic() < self._until.get(limits, 0.0)
