"""Sends job events to Flower and `celery events`.

Only Celery's own thread may use Celery's event dispatcher, so the engine's thread puts events into a buffer.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from zlib import crc32

from celery.utils.time import utcoffset
from celery.worker import state

from registry.serving.settings import EventsSetting
from workers.engine.intake.messages import QueuedJob
from workers.errors import WorkerError
from workers.platform.texts import short_text
from workers.queues.naming import TASK_NAME

_log = logging.getLogger(__name__)

#: Events in one message. With Celery's default of 24, the messages cost more than the events.
_MOST_IN_MESSAGE = 500
#: As Celery calls all that is about tasks.
_GROUP = "task"
#: The buffer keeps so many events while there is no connection, and drops the oldest beyond that.
_MAX_BUFFERED = 20_000


#: One of so many jobs is in the sample.
_SAMPLED_OF = 100


def _in_sample(job_id: str) -> bool:
    """Whether a job is in the sample; the same on every worker."""
    return crc32(job_id.encode()) % _SAMPLED_OF == 0


#: Type, time (s since the epoch) and fields of an event.
_Event = tuple[str, float, dict[str, Any]]


class Dispatcher(Protocol):
    """The part of Celery's event dispatcher that is used here."""

    enabled: bool
    groups: set[str]
    hostname: str
    pid: int
    #: The logical clock of the app: `forward` and `adjust` go on, and return the time.
    clock: Any
    #: None while there is no connection.
    producer: Any

    def publish(self, type: str, fields: dict[str, Any], producer: Any, **options: Any) -> Any:  # noqa: A002 - Celery's
        """Send what `Event` in the options returns, or keep it for the next `flush` if that fails."""

    def flush(self) -> None:
        """Send what could not be sent before."""


class CeleryEventBuffer:
    """Events on their way to Celery's thread; the engine's thread calls `ring` when there are new events."""

    def __init__(self) -> None:
        self.ring: Callable[[], None] = lambda: None
        self._rung = False
        self._events: deque[_Event] = deque(maxlen=_MAX_BUFFERED)

    def received(self, jobs: list[QueuedJob], events: EventsSetting = "full") -> None:
        """Record that jobs were fetched; the endpoint's setting `events` selects the jobs with events."""
        state.total_count[TASK_NAME] += len(jobs)
        for job in jobs:
            job.events = "full" if events == "sampled" and _in_sample(job.job_id) else events
        self._put("task-received", [job.event_fields for job in jobs if job.events == "full"])

    def started(self, jobs: list[QueuedJob]) -> None:
        """Record that jobs are sent to a host."""
        self._put("task-started", [{"uuid": job.job_id} for job in jobs if job.events == "full"])

    def succeeded(self, job: QueuedJob, outcome: bytes, runtime_s: float) -> None:
        """Record that a job has its outcome, a JSON document."""
        if job.events == "full":
            self._put("task-succeeded", [{"uuid": job.job_id, "result": short_text(outcome), "runtime": runtime_s}])

    def failed(self, job: QueuedJob, error: WorkerError) -> None:
        """Record that a job has failed."""
        text = f"{type(error).__name__}({str(error)!r})"
        self._put_failure(job, "task-failed", {"exception": text, "traceback": str(error)})

    def revoked(self, job: QueuedJob, *, expired: bool = False, terminated: bool = False) -> None:
        """Record that a job was cancelled or has expired."""
        self._put_failure(job, "task-revoked", {"terminated": terminated, "signum": None, "expired": expired})

    def flush(self, dispatcher: Dispatcher | None) -> None:
        """Send all events; called on Celery's thread. Never raises, since events must not stop a worker."""
        self._rung = False
        try:
            if dispatcher is None or not dispatcher.enabled or (dispatcher.groups and _GROUP not in dispatcher.groups):
                self._events.clear()
            while self._events and dispatcher is not None and dispatcher.producer is not None:
                dispatcher.flush()
                _publish(dispatcher, [self._events.popleft() for _ in range(min(len(self._events), _MOST_IN_MESSAGE))])
        except Exception:  # noqa: BLE001 - see above; on Celery's loop a KeyError would cause a reconnect to the broker
            _log.warning("sending events failed", exc_info=True)

    def _put_failure(self, job: QueuedJob, type_: str, fields: dict[str, Any]) -> None:
        """Add the event of a failure, also for jobs that are not in the sample."""
        if job.events == "sampled":
            self._put("task-received", [job.event_fields])
        if job.events != "off":
            self._put(type_, [{"uuid": job.job_id, **fields}])

    def _put(self, type_: str, all_fields: list[dict[str, Any]]) -> None:
        if not all_fields:
            return
        now = time.time()
        self._events.extend([(type_, now, fields) for fields in all_fields])
        if not self._rung:
            self._rung = True
            self.ring()


def _publish(dispatcher: Dispatcher, events: Sequence[_Event]) -> None:
    """Send events in one message, each as Celery's dispatcher makes it, which takes several times as long for each."""
    first = dispatcher.clock.forward()
    dispatcher.clock.adjust(first + len(events) - 1)
    about = {"hostname": dispatcher.hostname, "utcoffset": utcoffset(), "pid": dispatcher.pid}
    message = [
        {**about, "clock": clock, **fields, "timestamp": at, "type": type_}
        for clock, (type_, at, fields) in enumerate(events, first)
    ]
    dispatcher.publish(f"{_GROUP}-multi", {}, dispatcher.producer, blind=True, Event=lambda *_, **__: message)
