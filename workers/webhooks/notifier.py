"""The process that tells the ends of jobs: a Celery worker with threads, without an engine and without models.

celery -A workers.webhooks.notifier worker --pool threads …
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker.consumer.tasks import Tasks
from kombu.exceptions import OperationalError

from workers import logs
from workers.app import configuration
from workers.queues import DELIVER_TASK, WEBHOOKS_QUEUE
from workers.settings import load
from workers.webhooks.delivering import deliver
from workers.webhooks.dispatching import Dispatcher

_log = logging.getLogger(__name__)

#: They say of each task what `delivering` says better.
_CELERYS_OWN = ("celery.worker.strategy", "celery.app.trace")
#: Attempts at once; each is a thread that waits for a receiver most of the time.
_THREADS = 16


def _configuration() -> dict[str, Any]:
    return {
        **configuration(),
        "imports": [],
        "task_routes": None,
        "task_default_queue": WEBHOOKS_QUEUE,
        "worker_pool": "threads",
        "worker_concurrency": _THREADS,
    }


app = Celery("queuecast-notifier", set_as_current=False)
app.add_defaults(_configuration)


# Acknowledged at once: should it be lost then, the delivery is soon due again.
@app.task(name=DELIVER_TASK, acks_late=False, ignore_result=True)  # type: ignore[untyped-decorator, unused-ignore]
def deliver_task(job_id: str) -> None:
    """Tell the end of a job."""
    deliver(job_id)


def send(job_id: str) -> None:
    """Have a thread of the pool tell a job's end; it is told here where the broker takes nothing, as a full Redis.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    try:
        deliver_task.apply_async((job_id,))
    except OperationalError as error:
        _log.warning("the end of job %s is told without a task (%s)", job_id, error, extra={"job_id": job_id})
        deliver(job_id)


class DispatchStep(bootsteps.StartStopStep):  # type: ignore[misc, unused-ignore]
    """Runs the dispatcher for as long as the worker lives, through any number of broker reconnects."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._dispatcher: Dispatcher | None = None

    def start(self, _consumer: Any) -> None:
        """Begin to dispatch, if there is something to sign with."""
        if self._dispatcher is not None:
            return
        if not load().webhook_keys:
            _log.warning("no webhooks are sent: QUEUECAST_WEBHOOK_SECRETS is not set (docs/webhooks.md)")
            return
        self._dispatcher = Dispatcher(send)
        self._dispatcher.start()

    def stop(self, consumer: Any) -> None:
        """End it if the worker ends; a lost connection to the broker is none of its business."""
        if self._dispatcher is not None and consumer.blueprint.state in (bootsteps.CLOSE, bootsteps.TERMINATE):
            self._dispatcher.stop()
            self._dispatcher = None

    terminate = stop


def _log_as_set(logger: logging.Logger, **_: Any) -> None:
    """Have what is logged look as the settings say, and each attempt in one line."""
    for name in _CELERYS_OWN:
        logging.getLogger(name).setLevel(logging.WARNING)
    if load().log_format is logs.LogFormat.JSON:
        for handler in logger.handlers:
            handler.setFormatter(logs.JsonFormatter("notifier"))


app.steps["consumer"].add(DispatchStep)
for _logger_is_set_up in (signals.after_setup_logger, signals.after_setup_task_logger):
    _logger_is_set_up.connect(_log_as_set, weak=False)
