"""Duties of the background process: each has a thread of its own, and begins again after an error."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

import redis

from registry.errors import RegistryError

_log = logging.getLogger(__name__)

_RETRY_AFTER_ERROR_S = 1.0


class Duty(Protocol):
    """Work that goes on for as long as the process lives; several background processes may do it side by side."""

    @property
    def name(self) -> str:
        """What it does, for logs."""

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set. What it raises is logged, and it is called again."""


class DutyThread:
    """The thread of one duty."""

    def __init__(self, duty: Duty) -> None:
        self._duty = duty
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=duty.name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Let the duty stop soon."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop the duty, and wait for its end."""
        self.begin_stop()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._duty.run(self._stopping)
            except (redis.RedisError, RegistryError) as error:
                _log.warning("%s failed (%s); retrying", self._duty.name, error)
                self._stopping.wait(_RETRY_AFTER_ERROR_S)
            except Exception:  # noqa: BLE001 - the next try may succeed
                _log.exception("%s failed; retrying", self._duty.name)
                self._stopping.wait(_RETRY_AFTER_ERROR_S)
