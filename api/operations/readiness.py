"""Whether the services that requests need answer, each checked by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from api.process.services import Services
from registry import versions
from registry.errors import RegistryError
from workers.broker import rabbitmq
from workers.errors import QueueUnavailable, WorkerError
from workers.platform.redis import client as redis_client
from workers.settings import load


def check(services: Services) -> dict[str, Any]:
    """Return `status` (ready or unavailable) and what each part answered, with its time in ms."""
    parts = {
        "redis": _part(_ask_redis),
        "database": _part(lambda: _ask_database(services)),
    }
    if load().broker_is_amqp:
        parts["rabbitmq"] = _part(_ask_rabbitmq)
    ready = all(part["status"] == "ready" for part in parts.values())
    return {"status": "ready" if ready else "unavailable", "parts": parts}


def _ask_redis() -> None:
    with redis_client.translated_errors():
        redis_client.records_client().ping()


def _ask_rabbitmq() -> None:
    with redis_client.translated_errors():
        try:
            rabbitmq.check()
        except rabbitmq.BrokerBlocked as error:
            raise QueueUnavailable(str(error)) from error


def _ask_database(services: Services) -> None:
    # A real query rather than SELECT 1: a schema that was never migrated is not ready either.
    with services.database.session() as session:
        versions.stats(session)


def _part(ask: Callable[[], None]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        ask()
    except (RegistryError, WorkerError) as error:
        return {"status": "unavailable", "code": error.code, "detail": str(error)}
    return {"status": "ready", "answered_in_ms": round((time.perf_counter() - began) * 1000, 2)}
