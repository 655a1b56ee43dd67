"""Redis clients that answer or fail within two seconds, and the translation of their errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import overload

import redis
from redis.asyncio import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript, Script
from redis.retry import Retry

from workers import keys
from workers.errors import QueueStoreFull, QueueUnavailable
from workers.settings import load

CONNECT_TIMEOUT_S = 0.7
ANSWER_TIMEOUT_S = 1.7
#: As many as a process has threads: redis-py's own limit would fail the hundred-and-first caller at once.
_MAX_CONNECTIONS = 20_000
#: The beginning of a script that also runs where Redis has reached its `maxmemory`. Redis asks that of a script's first
#: write alone, and only if that could take memory. What ends jobs has to run then, or no memory would come free ever.
EVEN_IF_FULL = f"redis.call('DEL', '{keys.NOTHING}')\n"


def connect(url: str) -> redis.Redis:
    """Make a client (it connects at its first command).

    One retry, and on a refused or dropped connection only: a pooled connection that the server
    closed fails once, but a command whose answer is late must not run twice.
    """
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        max_connections=_MAX_CONNECTIONS,
        protocol=2,
    )


@lru_cache(maxsize=1)
def records_client() -> redis.Redis:
    """The client for job records and observed state, one a process."""
    return connect(load().redis_url)


@lru_cache(maxsize=1)
def queue_client() -> redis.Redis:
    """The client for the queues themselves, one a process."""
    settings = load()
    return records_client() if settings.queue_url == settings.redis_url else connect(settings.queue_url)


@overload
def script(client: redis.Redis, text: str) -> Script: ...
@overload
def script(client: AsyncRedis, text: str) -> AsyncScript: ...
def script(client: redis.Redis | AsyncRedis, text: str) -> Script | AsyncScript:
    """Return a Lua script bound to a client; its digest is computed once."""
    return _script(client, text)


@lru_cache(maxsize=256)
def _script(client: redis.Redis | AsyncRedis, text: str) -> Script | AsyncScript:
    return client.register_script(text)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what redis-py and kombu raise into `QueueUnavailable` or `QueueStoreFull`, without the driver's text."""
    from kombu.exceptions import OperationalError

    try:
        yield
    except redis.OutOfMemoryError as error:
        raise QueueStoreFull from error
    except (redis.RedisError, OperationalError, OSError) as error:
        message = "The job queue can't be reached; nothing was stored. Try again shortly."
        raise QueueUnavailable(message) from error
