"""Dispatches webhooks that are due: a duty of the background process.

Redis holds what is due. The dispatcher sends a task for each due delivery; a task that is lost, or that comes twice,
does no harm.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from workers import keys
from workers.platform.redis.client import records_client
from workers.webhooks import backfill, store

#: Interval of the checks for due deliveries; new ones are announced at once.
_CHECK_INTERVAL_S = 1.0


class Dispatcher:
    """Dispatches due deliveries; `send` sends the task for a job."""

    name = "dispatching due webhooks"

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        #: Cursor and next time of the backfill.
        self._cursor, self._backfills_at = 0, 0.0

    def run(self, stopping: threading.Event) -> None:
        """Dispatch until `stopping` is set. Raises redis.RedisError if Redis can't be reached."""
        with records_client().pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(keys.WEBHOOKS_CHANNEL)
            while not stopping.is_set():
                self._dispatch(stopping)
                self._backfill()
                if channel.get_message(timeout=_CHECK_INTERVAL_S) is None:
                    continue
                while channel.get_message() is not None:  # one check covers all announcements so far
                    pass

    def _backfill(self) -> None:
        if time.monotonic() >= self._backfills_at:
            self._backfills_at = time.monotonic() + _CHECK_INTERVAL_S
            self._cursor = backfill.backfill_some(self._cursor)

    def _dispatch(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            due = store.lease_due()
            for job_id in due:
                self._send(job_id)
            if len(due) < store.LEASED_AT_ONCE:
                return
