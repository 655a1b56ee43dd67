"""The bootstep that runs the publisher in a thread of each worker."""

from __future__ import annotations

import logging
import threading
from typing import Any

import redis
from celery import bootsteps, signals
from celery.worker.consumer.tasks import Tasks

from workers.jobs.endings import successors
from workers.successors.publisher import Publisher

_log = logging.getLogger(__name__)
_RETRY_AFTER_ERROR_S = 1.0
#: What is not published by then is published by another process.
_LONGEST_STOP_S = 5.0


class SuccessorsStep(bootsteps.StartStopStep):  # type: ignore[misc, unused-ignore]
    """Runs the publisher for as long as the worker lives, through any number of broker reconnects."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._publisher = Publisher()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, _consumer: Any) -> None:
        """Start the thread, unless it runs."""
        if self._thread is None:
            successors.when_due(self._publisher.wake)
            # The last step to stop: the engine ends jobs while it stops.
            signals.worker_shutdown.connect(self._stop_thread, weak=False)
            self._thread = threading.Thread(target=self._run, name=self._publisher.name, daemon=True)
            self._thread.start()

    def stop(self, _consumer: Any) -> None:
        """Do nothing: the thread outlives a reconnect, and stops when the worker has stopped."""

    terminate = stop

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._publisher.run(self._stopping)
            except redis.RedisError as error:
                _log.warning("%s failed (%s); retrying", self._publisher.name, error)
                self._stopping.wait(_RETRY_AFTER_ERROR_S)
            except Exception:  # noqa: BLE001 - the next try may succeed
                _log.exception("%s failed; retrying", self._publisher.name)
                self._stopping.wait(_RETRY_AFTER_ERROR_S)

    def _stop_thread(self, **_: Any) -> None:
        if self._thread is not None:
            self._stopping.set()
            self._publisher.wake()
            self._thread.join(_LONGEST_STOP_S)
