"""An outage of the database: one thread polls the database, and callers fail at once until it answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event, Lock, Thread

from sqlalchemy.exc import DBAPIError

from registry.database.translation import is_silence
from registry.errors import RegistryUnavailable

_log = logging.getLogger(__name__)

_POLL_INTERVAL_S = 1.0


class Outage:
    """Begins when a caller gets no answer, and ends when `poll` gets one, even a refusal."""

    def __init__(self, poll: Callable[[], None]) -> None:
        self._poll = poll
        self._began_at = 0.0
        self._over = Event()
        self._over.set()
        self._given_up = Event()
        self._lock = Lock()

    def refuse(self) -> None:
        """Raise RegistryUnavailable while the outage lasts."""
        if not self._over.is_set():
            lasts_s = time.monotonic() - self._began_at
            raise RegistryUnavailable(f"The registry database has not answered for {lasts_s:.0f} s; try again.")

    def begin(self) -> None:
        """Begin the outage, unless it has begun: a thread of its own polls the database."""
        with self._lock:
            if not self._over.is_set() or self._given_up.is_set():
                return
            self._over.clear()
            self._began_at = time.monotonic()
            Thread(target=self._watch, name="queuecast-registry-outage", daemon=True).start()

    def is_over(self, within_s: float) -> bool:
        """Whether there is no outage, or it ends within this time."""
        return self._over.wait(within_s)

    def give_up(self) -> None:
        """End the outage and its thread for good: the database is being closed."""
        self._given_up.set()
        self._over.set()

    def _watch(self) -> None:
        _log.warning("the registry database doesn't answer: refusing requests that need it")
        while not self._given_up.is_set() and self._is_silent():
            self._given_up.wait(_POLL_INTERVAL_S)
        if not self._given_up.is_set():
            _log.warning("the registry database answered after %.1f s", time.monotonic() - self._began_at)
        self._over.set()

    def _is_silent(self) -> bool:
        try:
            self._poll()
        except DBAPIError as error:
            return error.orig is not None and is_silence(error.orig, error.statement)
        except Exception:  # noqa: BLE001 - the next caller gets the error
            _log.exception("unexpected error while polling the registry database")
        return False
