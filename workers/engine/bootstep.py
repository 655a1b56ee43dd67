"""Where the engine meets Celery: it starts with the worker's consumer and ends before it."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals
from celery.worker import state
from celery.worker.consumer.events import Events
from celery.worker.consumer.tasks import Tasks
from kombu import serialization

from workers import fast_json, garbage, tracing
from workers.engine import inspection
from workers.engine.engine import Engine
from workers.engine.events import Outbox
from workers.errors import SettingsWrong
from workers.settings import WorkerSettings, load

if TYPE_CHECKING:
    # Prometheus's library is loaded where somebody wants metrics.
    from workers.engine.exposition import MetricsServer

#: Events in one message; Celery's own 24 cost more in messages than the events themselves do.
_EVENTS_AT_ONCE = 500
#: How long events gather: what wakes Celery's thread costs as much as dozens of them.
_GATHERING_S = 0.05


# For who receives them it is JSON as ever.
_EVENTS_SERIALIZER = "queuecast-events"
serialization.register(  # type: ignore[no-untyped-call]
    _EVENTS_SERIALIZER, fast_json.news, None, "application/json", "utf-8"
)


def _prepare(dispatcher: Any) -> None:
    """Have events sent many at a time, and those that can't be sent kept for later.

    Celery's heartbeat retries for ever on Celery's own thread, which then hears of no signal: a worker that
    is told to end while the broker is away would never do it.
    """
    dispatcher.buffer_limit = _EVENTS_AT_ONCE
    dispatcher.serializer = _EVENTS_SERIALIZER
    send = dispatcher.send
    dispatcher.send = lambda type_, retry=False, **fields: send(type_, **fields)  # noqa: ARG005 - see above


def _metrics_server(engine: Engine, settings: WorkerSettings) -> MetricsServer | None:
    if not settings.metrics_port:
        return None
    from workers.engine.exposition import MetricsServer, WorkerCollector

    collector = WorkerCollector(engine.measures, engine.served)
    return MetricsServer(collector, settings.metrics_host, settings.metrics_port)


class EngineStep(bootsteps.StartStopStep):  # type: ignore[misc, unused-ignore]
    """Runs the engine for as long as the worker lives, through any number of broker reconnects."""

    requires = (Events, Tasks)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._outbox = Outbox()
        self._engine: Engine | None = None
        self._metrics: MetricsServer | None = None
        self._requests_to_end = itertools.count()

    def start(self, consumer: Any) -> None:
        """Start the engine, or after a reconnect go on sending its events.

        Raises:
            SettingsWrong: the worker runs without Celery's event loop.
        """
        if consumer.hub is None:
            raise SettingsWrong("A Queuecast worker needs Celery's event loop: start it with --pool solo.")
        _prepare(consumer.event_dispatcher)
        self._outbox.ring = lambda: self._flush_soon(consumer)
        if self._engine is None:
            signals.worker_shutting_down.connect(self._shutting_down, weak=False)
            self._engine = Engine(consumer.hostname, load(), self._outbox, lambda job_id: job_id in state.revoked)
            tracing.start("queuecast-worker")
            garbage.collect_less()
            self._engine.start()
            inspection.of(self._engine)
            self._metrics = _metrics_server(self._engine, load())

    def _flush_soon(self, consumer: Any) -> None:
        """Called on the engine's thread; `call_soon` may be, and wakes Celery's loop."""
        loop = asyncio.get_running_loop()
        loop.call_later(_GATHERING_S, consumer.hub.call_soon, self._outbox.flush, consumer.event_dispatcher)

    def _shutting_down(self, how: str = "", **_: Any) -> None:
        """A second signal, or one that asks for a cold shutdown, is in no mood to wait for predictions."""
        # Counted in one step: a signal may come while the one before it is still being handled.
        if self._engine is not None and (next(self._requests_to_end) or how == "Cold"):
            self._engine.hurry()

    def stop(self, consumer: Any) -> None:
        """End the engine if the worker ends; a lost connection to the broker is none of its business."""
        if self._engine is not None and consumer.blueprint.state in (bootsteps.CLOSE, bootsteps.TERMINATE):
            self._engine.close()
            self._engine = None
            if self._metrics is not None:
                self._metrics.close()
            tracing.stop()
            self._outbox.ring = lambda: None
            self._outbox.flush(consumer.event_dispatcher)

    terminate = stop
