"""The notifier's clock: has each notification sent when it is due, by a Celery task of its own.

What is due stands in Redis. The tasks only say which; one that is lost, or that comes twice, does no harm.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import redis

from workers import keys
from workers.redis_client import records_client
from workers.webhooks import attempts, unnoted

_log = logging.getLogger(__name__)

#: How often it is looked for what is due; what is new is heard of at once.
_LOOK_INTERVAL_S = 1.0
_AFTER_ERROR_S = 1.0


class Dispatcher:
    """A thread that looks for what is due, until it is stopped; `send` sends the task for a job."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._ending = threading.Event()
        #: Of the look for ends that were noted nowhere: where it goes on, and when.
        self._cursor, self._looks_at = 0, 0.0
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for that."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._look_and_listen()
            except redis.RedisError as error:
                _log.warning("can't look for webhooks that are due (%s); trying again", error)
                self._ending.wait(_AFTER_ERROR_S)
            except Exception:  # noqa: BLE001 - the next look may do what this one could not
                _log.exception("webhooks that are due could not be sent; trying again")
                self._ending.wait(_AFTER_ERROR_S)

    def _look_and_listen(self) -> None:
        with records_client().pubsub(ignore_subscribe_messages=True) as news:  # type: ignore[no-untyped-call]
            news.subscribe(keys.WEBHOOKS_CHANNEL)
            while not self._ending.is_set():
                self._dispatch()
                self._note_some()
                if news.get_message(timeout=_LOOK_INTERVAL_S) is None:
                    continue
                while news.get_message() is not None:  # one look is enough for all that is new by now
                    pass

    def _note_some(self) -> None:
        if time.monotonic() >= self._looks_at:
            self._looks_at = time.monotonic() + _LOOK_INTERVAL_S
            self._cursor = unnoted.note_some(self._cursor)

    def _dispatch(self) -> None:
        while not self._ending.is_set():
            due = attempts.take()
            for job_id in due:
                self._send(job_id)
            if len(due) < attempts.TAKEN_AT_ONCE:
                return
