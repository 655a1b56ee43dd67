"""The Celery app of workers (`workers.serve`), and what other programs send jobs with."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from celery import Celery, signals

from workers import sentinel_url
from workers.errors import SettingsWrong
from workers.platform import logs
from workers.platform.celery.results import Loader
from workers.platform.redis import masters
from workers.platform.redis.client import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S
from workers.platform.redis.kombu_connections import leave_demoted_masters
from workers.platform.redis.start_check import refuse_wrong_redis
from workers.queues.naming import CONTROL_QUEUE, TASK_NAME, queue_name
from workers.settings import load

_T = TypeVar("_T")
_APP_NAME = "queuecast"
_REDIS_OPTIONS = {
    "priority_steps": [0],
    "socket_timeout": ANSWER_TIMEOUT_S,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_keepalive": True,
    "health_check_interval": 25,
}
_AMQP_OPTIONS = {"confirm_publish": True}
#: On RabbitMQ a connection without a sign of life for twice as long is dead.
_HEARTBEAT_S = 20


def _refuse_second_copy() -> None:
    """Refuse to be another Celery app of the same program, which would have other settings, tasks and connections.

    Raises:
        ImportError: a clone's modules and those of an installed package are both imported.
    """
    plain = __name__.removeprefix("queuecast.")
    for other in {plain, f"queuecast.{plain}"} - {__name__}:
        found = sys.modules.get(other)
        if getattr(getattr(found, "app", None), "main", None) == _APP_NAME:
            raise ImportError(
                f"{__file__} is a second copy of {getattr(found, '__file__', other)}, which this program has imported: "
                "a clone of Queuecast and an installed package are both on its path. Take one of them off sys.path."
            )


_refuse_second_copy()


def route(name: str, args: Any, kwargs: Any, *_: Any, **_more: Any) -> dict[str, str] | None:
    """Send `predict` calls to their endpoint's queue, also those made without `queue=`."""
    if name != TASK_NAME:
        return None
    endpoint_name = args[0] if args else (kwargs or {}).get("endpoint_name")
    return {"queue": queue_name(endpoint_name)} if isinstance(endpoint_name, str) else None


def read_settings(read: Callable[[], _T]) -> _T:
    """Return what `read` returns; Celery's command line shows the error of a wrong setting without a traceback.

    Raises:
        SettingsWrong: a variable has a wrong value, and this is no command line.
    """
    try:
        return read()
    except SettingsWrong as error:
        # Late: a program that sends jobs has no command line of click.
        import click

        if click.get_current_context(silent=True) is None:
            raise
        raise click.ClickException(str(error)) from error


def configuration() -> dict[str, Any]:
    """Celery's settings; called when the app is first used, so that importing it reads nothing."""
    settings = read_settings(load)
    leave_demoted_masters()
    return {
        **_broker(settings.queue_url, amqp=settings.broker_is_amqp),
        **_result_backend(settings.redis_url),
        "result_expires": settings.result_ttl_s,
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_serializer": "json",
        "result_accept_content": ["json"],
        "imports": ["workers.tasks"],
        "task_routes": (route,),
        "task_default_queue": CONTROL_QUEUE,
        "task_acks_late": True,
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0.1},
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # RabbitMQ keeps a worker's control queue locked until it has noticed that the connection is dead.
        "broker_channel_error_retry": True,
        "broker_heartbeat": _HEARTBEAT_S,
        "worker_consumer": "workers.broker.celery_consumer:CeleryConsumer",
        "worker_pool": "solo",
        "worker_concurrency": 1,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": True,
        "worker_redirect_stdouts": False,
    }


def _broker(url: str, *, amqp: bool) -> dict[str, Any]:
    """Return Celery's settings of the broker."""
    options = _AMQP_OPTIONS if amqp else _REDIS_OPTIONS
    if not sentinel_url.is_sentinel(url):
        return {"broker_url": url, "broker_transport_options": options}
    parsed = sentinel_url.parse(url)
    return {
        "broker_url": parsed.celery_url,
        "broker_transport_options": {**options, **parsed.celery_options(masters.connection_options())},
        "broker_use_ssl": None if parsed.tls is None else dict(parsed.tls),
    }


def _result_backend(url: str) -> dict[str, Any]:
    """Return Celery's settings of the result backend."""
    if not sentinel_url.is_sentinel(url):
        return {"result_backend": url}
    parsed = sentinel_url.parse(url)
    return {
        "result_backend": parsed.celery_url,
        "result_backend_transport_options": parsed.celery_options(masters.connection_options()),
        "redis_backend_use_ssl": None if parsed.tls is None else dict(parsed.tls),
    }


def _refuse_wrong_redis(**_: Any) -> None:
    """End a worker that can't use its Redis; Celery only logs other errors of what hears of its start."""
    try:
        refuse_wrong_redis()
    except SettingsWrong as error:
        sys.exit(str(error))


def _log_as_set(logger: logging.Logger, **_: Any) -> None:
    """Have what Celery logs, and all others in a worker, look as the settings say."""
    logs.set_form_of(logger, load().log_format, "worker")


app = Celery(_APP_NAME, loader=Loader)
app.add_defaults(configuration)
app.steps["consumer"].add("workers.engine.celery.bootstep:EngineStep")
app.steps["consumer"].add("workers.successors.worker_step:SuccessorsStep")
# Also of the background process, whose app has the same configuration.
signals.celeryd_init.connect(_refuse_wrong_redis, weak=False)
for _logger_is_set_up in (signals.after_setup_logger, signals.after_setup_task_logger):
    _logger_is_set_up.connect(_log_as_set, weak=False)
