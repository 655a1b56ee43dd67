"""Reads how many jobs wait in the queues, the age of the oldest in each queue, and how many jobs are delayed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from workers import keys
from workers.broker import rabbitmq
from workers.platform.lua import Lua, run_in_parts, script
from workers.platform.redis.client import queue_client, records_client, translated_errors
from workers.queues import delayed
from workers.queues.delayed import Delayed
from workers.queues.naming import queue_name, queue_names
from workers.settings import load

_READ = Lua("workers.broker", "queue_lengths")

_COUNT = Lua("workers.broker", "count_unfinished")
_OLDEST = Lua("workers.broker", "oldest_unfinished")
#: More than workers hold of one endpoint.
_LOOKED_AT = 2_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """The jobs of one endpoint that no worker has fetched yet: those in its queues, and the `delayed` ones."""

    depth: int
    oldest_age_s: float | None
    delayed: Delayed = delayed.NONE


def read(endpoint_names: Sequence[str]) -> dict[str, Backlog]:
    """Return the backlog of each endpoint.

    The round trips to Redis don't grow with the endpoints; RabbitMQ is asked three questions more for each.

    Raises:
        redis.RedisError, kombu.exceptions.OperationalError: what is asked can't be reached.
    """
    if not endpoint_names:
        return {}
    if load().broker_is_amqp:
        depth_of = rabbitmq.depths([queue for name in endpoint_names for queue in queue_names(name)])
        depths: Sequence[int] = [sum(depth_of[queue] for queue in queue_names(name)) for name in endpoint_names]
        unfinished = [keys.unfinished(name) for name in endpoint_names]
        oldest_at = script(records_client(), _OLDEST)([keys.LEASES, *unfinished], [_LOOKED_AT])
    else:
        answers = run_in_parts(queue_client(), _READ, [queue_name(name) for name in endpoint_names])
        depths, oldest_at = answers[::2], answers[1::2]
    now, delayed_of = time.time(), delayed.read(endpoint_names)
    return {
        name: Backlog(depth, round(max(0.0, now - float(at)), 3) if at and depth else None, delayed_of[name])
        for name, depth, at in zip(endpoint_names, depths, oldest_at, strict=True)
    }


def unfinished(endpoint_names: Sequence[str]) -> list[int]:
    """Return how many jobs of each endpoint have a record and have not ended: they wait, of any priority, or run.

    Delayed jobs do not count.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        return run_in_parts(records_client(), _COUNT, [keys.unfinished(name) for name in endpoint_names], [time.time()])
