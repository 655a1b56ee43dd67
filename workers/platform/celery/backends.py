"""The result backends on Redis that `results` chooses; importing this takes what Celery's own take."""

from __future__ import annotations

from celery.backends.redis import RedisBackend, SentinelBackend

from workers.platform.celery.results import JobErrors


class RedisResults(JobErrors, RedisBackend):  # type: ignore[misc, unused-ignore]
    """Records in Redis."""


class SentinelResults(JobErrors, SentinelBackend):  # type: ignore[misc, unused-ignore]
    """Records in the Redis that sentinels name."""
