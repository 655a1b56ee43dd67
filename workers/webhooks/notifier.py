"""The process that sends webhooks: a Celery worker with threads, without an engine and without models.

    celery -A workers.webhooks.notifier worker --pool threads …

Redis holds what is due. The dispatcher sends a task for each due delivery; a task that is lost, or that comes twice,
does no harm.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import redis
from celery import Celery, bootsteps, signals
from celery.worker.consumer.tasks import Tasks
from kombu.exceptions import OperationalError

from workers import keys, settings
from workers.app import configuration
from workers.platform import logs
from workers.platform.process_title import set_title
from workers.platform.redis.client import records_client
from workers.queues import unpacking
from workers.queues.naming import DELIVER_TASK, WEBHOOKS_QUEUE
from workers.webhooks import backfill, store
from workers.webhooks import settings as webhook_settings
from workers.webhooks.delivery import deliver

_log = logging.getLogger(__name__)

#: Celery's own log lines of each task; `delivery` writes better ones.
_CELERYS_OWN = ("celery.worker.strategy", "celery.app.trace")
#: Concurrent attempts; each is a thread that mostly waits for a receiver.
_THREADS = 16

#: Interval of the checks for due deliveries; new ones are announced at once.
_CHECK_INTERVAL_S = 1.0
_RETRY_AFTER_ERROR_S = 1.0


class Dispatcher:
    """A thread that dispatches due deliveries until it is stopped; `send` sends the task for a job."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._stopping = threading.Event()
        #: Cursor and next time of the backfill.
        self._cursor, self._backfills_at = 0, 0.0
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._dispatch_until_stopped()
            except redis.RedisError as error:
                _log.warning("checking for due webhooks failed (%s); retrying", error)
                self._stopping.wait(_RETRY_AFTER_ERROR_S)
            except Exception:  # noqa: BLE001 - the next check may succeed
                _log.exception("dispatching due webhooks failed; retrying")
                self._stopping.wait(_RETRY_AFTER_ERROR_S)

    def _dispatch_until_stopped(self) -> None:
        with records_client().pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(keys.WEBHOOKS_CHANNEL)
            while not self._stopping.is_set():
                self._dispatch()
                self._backfill()
                if channel.get_message(timeout=_CHECK_INTERVAL_S) is None:
                    continue
                while channel.get_message() is not None:  # one check covers all announcements so far
                    pass

    def _backfill(self) -> None:
        if time.monotonic() >= self._backfills_at:
            self._backfills_at = time.monotonic() + _CHECK_INTERVAL_S
            self._cursor = backfill.backfill_some(self._cursor)

    def _dispatch(self) -> None:
        while not self._stopping.is_set():
            due = store.lease_due()
            for job_id in due:
                self._send(job_id)
            if len(due) < store.LEASED_AT_ONCE:
                return


# kombu decompresses messages before the code of this package sees them.
unpacking.bound_kombu()


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


class DispatchStep(bootsteps.StartStopStep):  # type: ignore[misc, unused-ignore]
    """Runs the dispatcher for as long as the worker lives, through any number of broker reconnects."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._dispatcher: Dispatcher | None = None

    def start(self, consumer: Any) -> None:
        """Start the dispatcher if a secret is set."""
        if self._dispatcher is not None:
            return
        set_title(f"notifier {consumer.hostname}")
        if not webhook_settings.load().keys:
            _log.warning("webhooks are disabled: QUEUECAST_WEBHOOK_SECRETS is not set (docs/guides/webhooks.md)")
            return
        self._dispatcher = Dispatcher(send)
        self._dispatcher.start()

    def stop(self, consumer: Any) -> None:
        """Stop the dispatcher if the worker stops, but not when the worker reconnects to the broker."""
        if self._dispatcher is not None and consumer.blueprint.state in (bootsteps.CLOSE, bootsteps.TERMINATE):
            self._dispatcher.stop()
            self._dispatcher = None

    terminate = stop


def _configure_logging(logger: logging.Logger, **_: Any) -> None:
    """Apply the log format of the settings, with one line for each attempt."""
    for name in _CELERYS_OWN:
        logging.getLogger(name).setLevel(logging.WARNING)
    logs.set_form_of(logger, settings.load().log_format, "notifier")


# An invalid setting ends this process at its start, like the settings that `workers.app` reads.
webhook_settings.load()
app.steps["consumer"].add(DispatchStep)
for _logger_is_set_up in (signals.after_setup_logger, signals.after_setup_task_logger):
    _logger_is_set_up.connect(_configure_logging, weak=False)
