"""Looks at the start of a process whether its Redis is one that it can use."""

from __future__ import annotations

import redis

from workers.errors import SettingsWrong
from workers.platform.redis import refusals
from workers.platform.redis.client import connect
from workers.platform.redis.masters import WrongMode
from workers.settings import load


def refuse_wrong_redis() -> None:
    """Refuse a Redis that can't be used, or not as the URL says; one that doesn't answer yet is not refused.

    Raises:
        SettingsWrong: names the variable, and what to do instead.
    """
    settings = load()
    urls = {"QUEUECAST_REDIS_URL": settings.redis_url}
    if not settings.queues_beside_records and not settings.broker_is_amqp:
        urls["QUEUECAST_BROKER_URL"] = settings.queue_url
    for name, url in urls.items():
        try:
            with connect(url) as client:
                client.ping()
        except WrongMode as error:
            raise SettingsWrong(f"{name}: {error}") from error
        except (redis.RedisError, OSError):
            # Without a reason, it may start later, and each connection looks again.
            if reason := refusals.reason(url):
                raise SettingsWrong(f"{name}: {reason}") from None
