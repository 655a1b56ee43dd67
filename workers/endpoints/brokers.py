"""Chooses the queues that this service's settings name."""

from __future__ import annotations

from functools import lru_cache

from workers.endpoints.waiting import Queues, RedisQueues
from workers.platform.redis.client import connect, records_client
from workers.settings import load


@lru_cache(maxsize=1)
def here() -> Queues | None:
    """Return the queues of this service's broker; None if nobody can say which there are."""
    settings = load()
    if settings.broker_is_amqp:
        url = settings.rabbitmq_management_url.get_secret_value()
        if not url:
            return None
        # py-amqp is an optional package's.
        from workers.endpoints.rabbitmq_queues import RabbitQueues

        return RabbitQueues(url)
    if settings.queues_beside_records:
        return RedisQueues(records_client(), beside_records=True)
    return RedisQueues(connect(settings.queue_url), beside_records=False)
