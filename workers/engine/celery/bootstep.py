"""The bootstep that runs the engine: it starts with the worker's consumer and stops before it."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals
from celery.worker import state
from celery.worker.consumer.events import Events
from celery.worker.consumer.tasks import Tasks
from kombu import serialization

from workers.broker.celery_signals import let_signals_interrupt_each_other
from workers.engine.celery import remote_control
from workers.engine.engine import Engine
from workers.engine.telemetry.celery_events import CeleryEventBuffer
from workers.errors import SettingsWrong
from workers.platform import fast_json, garbage
from workers.platform.process_title import set_title
from workers.queues import unpacking
from workers.settings import WorkerSettings, load
from workers.tracing import spans

if TYPE_CHECKING:
    # Prometheus's library is loaded only if metrics are enabled.
    from workers.engine.telemetry.metrics_server import MetricsServer

#: How long events are collected: waking Celery's thread costs as much as dozens of events.
_COLLECT_S = 0.05


# Receivers see plain JSON.
_EVENTS_SERIALIZER = "queuecast-events"
serialization.register(  # type: ignore[no-untyped-call]
    _EVENTS_SERIALIZER, fast_json.dumps_plain, None, "application/json", "utf-8"
)
# kombu decompresses messages to Celery's own consumer before the code of this package sees them.
unpacking.bound_kombu()


def _configure_dispatcher(dispatcher: Any) -> None:
    """Encode events fast, and keep them for later if sending fails.

    By default, Celery's heartbeat retries for ever on Celery's own thread, which then handles no signal: a worker would
    ignore SIGTERM while the broker is away.
    """
    dispatcher.serializer = _EVENTS_SERIALIZER
    send = dispatcher.send
    dispatcher.send = lambda type_, retry=False, **fields: send(type_, **fields)  # noqa: ARG005 - see above


def _metrics_server(engine: Engine, settings: WorkerSettings) -> MetricsServer | None:
    if not settings.metrics_port:
        return None
    from workers.engine.telemetry.metrics_server import MetricsServer, WorkerCollector

    collector = WorkerCollector(engine.counters, engine.served, engine.memory, engine.placed, engine.gpus)
    return MetricsServer(collector, settings.metrics_host, settings.metrics_port)


class EngineStep(bootsteps.StartStopStep):  # type: ignore[misc, unused-ignore]
    """Runs the engine for as long as the worker lives, through any number of broker reconnects."""

    requires = (Events, Tasks)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._event_buffer = CeleryEventBuffer()
        self._engine: Engine | None = None
        self._metrics: MetricsServer | None = None
        self._shutdown_requests = itertools.count()

    def start(self, consumer: Any) -> None:
        """Start the engine, or continue to send its events after a reconnect.

        Raises:
            SettingsWrong: the worker runs without Celery's event loop.
        """
        if consumer.hub is None:
            raise SettingsWrong("A Queuecast worker requires Celery's event loop: start it with --pool solo.")
        _configure_dispatcher(consumer.event_dispatcher)
        self._event_buffer.ring = lambda: self._flush_soon(consumer)
        if self._engine is None:
            let_signals_interrupt_each_other()
            signals.worker_shutting_down.connect(self._shutting_down, weak=False)
            self._engine = Engine(consumer.hostname, load(), self._event_buffer, lambda job_id: job_id in state.revoked)
            spans.start("queuecast-worker")
            garbage.collect_less()
            set_title(f"worker {consumer.hostname}")
            self._engine.start()
            remote_control.of(self._engine)
            self._metrics = _metrics_server(self._engine, load())

    def _flush_soon(self, consumer: Any) -> None:
        """Schedule a flush; called on the engine's thread. `call_soon` is thread-safe and wakes Celery's loop."""
        loop = asyncio.get_running_loop()
        loop.call_later(_COLLECT_S, consumer.hub.call_soon, self._event_buffer.flush, consumer.event_dispatcher)

    def _shutting_down(self, how: str = "", **_: Any) -> None:
        """On a second signal, or on a cold shutdown, don't wait for predictions."""
        # Counted in one step: a signal may arrive while the previous one is being handled.
        if self._engine is not None and (next(self._shutdown_requests) or how == "Cold"):
            self._engine.hurry()

    def stop(self, consumer: Any) -> None:
        """Stop the engine if the worker stops, but not when the worker reconnects to the broker."""
        if self._engine is not None and consumer.blueprint.state in (bootsteps.CLOSE, bootsteps.TERMINATE):
            self._engine.close()
            self._engine = None
            if self._metrics is not None:
                self._metrics.close()
            spans.stop()
            self._event_buffer.ring = lambda: None
            self._event_buffer.flush(consumer.event_dispatcher)

    terminate = stop
