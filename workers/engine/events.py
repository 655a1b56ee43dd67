"""Telling Flower and `celery events` of each job: from the engine's thread to Celery's dispatcher.

The dispatcher is Celery's and is used on Celery's own thread alone; this is the box between the two.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol
from zlib import crc32

from celery.utils.time import utcoffset
from celery.worker import state

from registry.serving_settings import EventsSetting
from workers.engine.messages import QueuedJob
from workers.errors import WorkerError
from workers.queues import TASK_NAME
from workers.reprs import short_text

_log = logging.getLogger(__name__)

#: Events that can't be sent (no connection) are dropped beyond this many: they are news, not records.
_KEPT = 20_000


#: Of so many jobs one is in the sample.
_SAMPLED_OF = 100


def _in_sample(job_id: str) -> bool:
    """Whether a job is told of where a sample is: the same answer on every worker that gets it."""
    return crc32(job_id.encode()) % _SAMPLED_OF == 0


class Dispatcher(Protocol):
    """The part of Celery's event dispatcher that is used here."""

    enabled: bool

    def send(self, type: str, **fields: Any) -> Any:  # noqa: A002 - Celery's name
        """Send or buffer one event."""


class Outbox:
    """Events on their way to Celery's thread; `ring` is called from the engine's thread when there are some."""

    def __init__(self) -> None:
        self.ring: Callable[[], None] = lambda: None
        self._rung = False
        self._events: deque[tuple[str, dict[str, Any]]] = deque(maxlen=_KEPT)

    def received(self, jobs: list[QueuedJob], events: EventsSetting = "full") -> None:
        """Jobs came from the queue of an endpoint, whose setting says which of them are told of."""
        state.total_count[TASK_NAME] += len(jobs)
        for job in jobs:
            job.events = "full" if events == "sampled" and _in_sample(job.job_id) else events
        self._put("task-received", [job.event_fields for job in jobs if job.events == "full"])

    def started(self, jobs: list[QueuedJob]) -> None:
        """Jobs are being given to a host."""
        self._put("task-started", [{"uuid": job.job_id} for job in jobs if job.events == "full"])

    def succeeded(self, job: QueuedJob, outcome: bytes, runtime_s: float) -> None:
        """A job has its outcome, a document in JSON."""
        if job.events == "full":
            self._put("task-succeeded", [{"uuid": job.job_id, "result": short_text(outcome), "runtime": runtime_s}])

    def failed(self, job: QueuedJob, error: WorkerError) -> None:
        """A job has failed."""
        text = f"{type(error).__name__}({str(error)!r})"
        self._put_bad_end(job, "task-failed", {"exception": text, "traceback": str(error)})

    def revoked(self, job: QueuedJob, *, expired: bool = False, terminated: bool = False) -> None:
        """A job was cancelled, perhaps while it ran, or has expired."""
        self._put_bad_end(job, "task-revoked", {"terminated": terminated, "signum": None, "expired": expired})

    def flush(self, dispatcher: Dispatcher | None) -> None:
        """Send everything; called on Celery's thread. Never raises: an event is not worth a worker."""
        self._rung = False
        offset = utcoffset()
        try:
            while self._events:
                type_, fields = self._events.popleft()
                if dispatcher is not None and dispatcher.enabled:
                    dispatcher.send(type_, utcoffset=lambda: offset, **fields)
        except Exception:  # noqa: BLE001 - see above; on Celery's loop a KeyError would even reconnect the broker
            _log.warning("events could not be sent", exc_info=True)

    def _put_bad_end(self, job: QueuedJob, type_: str, fields: dict[str, Any]) -> None:
        """Also of a job that is not in the sample: who watches wants to see what goes wrong."""
        if job.events == "sampled":
            self._put("task-received", [job.event_fields])
        if job.events != "off":
            self._put(type_, [{"uuid": job.job_id, **fields}])

    def _put(self, type_: str, all_fields: list[dict[str, Any]]) -> None:
        if not all_fields:
            return
        now = time.time()
        self._events.extend((type_, {**fields, "timestamp": now}) for fields in all_fields)
        if not self._rung:
            self._rung = True
            self.ring()
