"""The background process: a Celery worker with threads, without an engine and without models.

    celery -A workers.background.app worker --pool threads …

Its tasks send webhooks, and each of its duties has a thread. Several of these processes may run side by side.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker.consumer.tasks import Tasks
from kombu.exceptions import OperationalError

from workers import settings
from workers.app import configuration, read_settings
from workers.background.duties import Duty, DutyThread
from workers.broker.celery_signals import let_signals_interrupt_each_other
from workers.endpoints import unknown_jobs
from workers.endpoints.keeper import NamesKeeper
from workers.journal.mover import JournalMover
from workers.judging import evaluating
from workers.judging.announcing import Announcer
from workers.judging.monitoring.drift_duty import DriftDuty
from workers.judging.monitoring.quality_duty import QualityDuty
from workers.judging.pairs_duty import PairsDuty
from workers.judging.rollout_duty import RolloutDuty
from workers.pipelines.mover import PipelineMover
from workers.platform import logs
from workers.platform.process_title import set_title
from workers.queues import unpacking
from workers.queues.naming import DELIVER_TASK, WEBHOOKS_QUEUE
from workers.successors.publisher import Publisher
from workers.webhooks import settings as webhook_settings
from workers.webhooks.delivery import deliver
from workers.webhooks.dispatcher import Dispatcher

_log = logging.getLogger(__name__)

#: Celery's own log lines of each task; `delivery` writes better ones.
_CELERYS_OWN = ("celery.worker.strategy", "celery.app.trace")
#: Concurrent attempts of webhooks; each is a thread that mostly waits for a receiver.
_THREADS = 16


# kombu decompresses messages before the code of this package sees them.
unpacking.bound_kombu()


def _configuration() -> dict[str, Any]:
    # A wrong setting of webhooks ends this process at its start, too.
    read_settings(webhook_settings.load)
    return {
        **configuration(),
        "imports": [],
        "task_routes": None,
        "task_default_queue": WEBHOOKS_QUEUE,
        "worker_pool": "threads",
        "worker_concurrency": _THREADS,
    }


app = Celery("queuecast-background", set_as_current=False)
app.add_defaults(_configuration)


# Acknowledged at once: if the task is lost afterwards, the delivery is soon due again.
@app.task(name=DELIVER_TASK, acks_late=False, ignore_result=True)  # type: ignore[untyped-decorator, unused-ignore]
def deliver_task(job_id: str) -> None:
    """Send the webhook of a job."""
    deliver(job_id)


def send(job_id: str) -> None:
    """Send a job's webhook in a thread of the pool, or in this one if the broker (a full Redis) accepts no task.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    try:
        deliver_task.apply_async((job_id,))
    except OperationalError as error:
        fields = {"job_id": job_id}
        _log.warning("the broker accepts no task (%s): sending the webhook of job %s here", error, job_id, extra=fields)
        deliver(job_id)


def _webhook_duties() -> Sequence[Duty]:
    if webhook_settings.load().keys:
        return [Dispatcher(send), Announcer()]
    _log.warning("webhooks are disabled: QUEUECAST_WEBHOOK_SECRETS is not set (queuecast docs webhooks)")
    return []


def _journal_duties() -> Sequence[Duty]:
    return [JournalMover()]


def _monitoring_duties() -> Sequence[Duty]:
    return [QualityDuty(), DriftDuty()]


def _successor_duties() -> Sequence[Duty]:
    return [Publisher()]


def _endpoint_duties() -> Sequence[Duty]:
    return [NamesKeeper(), *unknown_jobs.duties()]


def _pipeline_duties() -> Sequence[Duty]:
    return [PipelineMover()]


def _rollout_duties() -> Sequence[Duty]:
    return [RolloutDuty(), PairsDuty()]


#: What makes the duties of each feature, once the process starts.
DUTIES: Sequence[Callable[[], Sequence[Duty]]] = (
    _webhook_duties,
    _journal_duties,
    evaluating.duties,
    _rollout_duties,
    _monitoring_duties,
    _successor_duties,
    _endpoint_duties,
    _pipeline_duties,
)


class DutiesStep(bootsteps.StartStopStep):  # type: ignore[misc, unused-ignore]
    """Runs the duties for as long as the process lives, through any number of broker reconnects."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._threads: list[DutyThread] | None = None

    def start(self, consumer: Any) -> None:
        """Start the duties, unless they run."""
        if self._threads is not None:
            return
        let_signals_interrupt_each_other()
        set_title(f"background {consumer.hostname}")
        self._threads = [DutyThread(duty) for of_feature in DUTIES for duty in of_feature()]
        for thread in self._threads:
            thread.start()

    def stop(self, consumer: Any) -> None:
        """Stop the duties if the process stops, but not when it reconnects to the broker."""
        if self._threads is not None and consumer.blueprint.state in (bootsteps.CLOSE, bootsteps.TERMINATE):
            for thread in self._threads:
                thread.begin_stop()
            for thread in self._threads:
                thread.stop()
            self._threads = None

    terminate = stop


def _configure_logging(logger: logging.Logger, **_: Any) -> None:
    """Apply the log format of the settings, with one line for each attempt."""
    for name in _CELERYS_OWN:
        logging.getLogger(name).setLevel(logging.WARNING)
    logs.set_form_of(logger, settings.load().log_format, "background")


app.steps["consumer"].add(DutiesStep)
for _logger_is_set_up in (signals.after_setup_logger, signals.after_setup_task_logger):
    _logger_is_set_up.connect(_configure_logging, weak=False)
