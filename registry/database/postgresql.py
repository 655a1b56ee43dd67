"""Engines for PostgreSQL that detect a hanging server, which doesn't enforce its own time limits.

Imported only if PostgreSQL is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import psycopg
from psycopg.abc import RV
from psycopg.errors import ConnectionTimeout
from sqlalchemy import URL, Engine, create_engine, event

from registry.database.translation import NoAnswer

#: The shortest time that psycopg allows.
_CONNECT_TIMEOUT_S = 2
#: The longest time without any data from or to the server.
ANSWER_TIMEOUT_S = 1.7
#: Shorter than `ANSWER_TIMEOUT_S`, so that a healthy server cancels a slow or blocked statement first, and the
#: connection stays open.
_STATEMENT_TIMEOUT_MS = 1_500
#: For migrations, which may wait for each other.
_PATIENT_STATEMENT_TIMEOUT_MS = 30_000


class ServerSilent(psycopg.OperationalError, NoAnswer):
    """The server did not answer in time."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when its server is silent for `ANSWER_TIMEOUT_S`."""

    def wait(self, gen: Generator[Any, Any, RV], *args: Any, **named: Any) -> RV:
        """Wait like psycopg, but close the connection if the server is silent. Raises ServerSilent."""
        try:
            return super().wait(_bounded(gen), *args, **named)
        except ServerSilent:
            self.close()
            raise


def _bounded(exchange: Generator[Any, Any, RV]) -> Generator[Any, Any, RV]:
    """Run an exchange of psycopg and measure the server's silence; psycopg resumes it at least every 0.1 s."""
    try:
        wanted = next(exchange)
        moved_at = time.monotonic()
        while True:
            ready = yield wanted
            now = time.monotonic()
            if ready:
                moved_at = now
            elif now - moved_at > ANSWER_TIMEOUT_S:
                raise ServerSilent(f"the server was silent for {ANSWER_TIMEOUT_S} s")
            wanted = exchange.send(ready)
    except StopIteration as end:
        result: RV = end.value
        return result


def new_engine(url: URL, *, patient: bool, may_connect: Callable[[], bool], **options: Any) -> Engine:
    """Create an engine; a `patient` one waits long for statements, and for ever for a silent server.

    `may_connect` returns whether to try a new connection now; it may wait a moment.
    """
    engine = create_engine(
        url,
        connect_args={"connect_timeout": _CONNECT_TIMEOUT_S, "tcp_user_timeout": 1000 * _CONNECT_TIMEOUT_S},
        **options,
    )
    timeout_ms = _PATIENT_STATEMENT_TIMEOUT_MS if patient else _STATEMENT_TIMEOUT_MS

    def connect(_dialect: object, _record: object, args: Any, named: Any) -> psycopg.Connection[Any]:
        if not may_connect():
            raise ServerSilent("the server doesn't answer")
        try:
            return (psycopg.Connection if patient else BoundedConnection).connect(*args, **named)
        except ConnectionTimeout as error:
            raise ServerSilent("the server did not answer to a new connection") from error

    def prepare(connection: psycopg.Connection[Any], _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {timeout_ms}".encode())
        connection.commit()

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", prepare)
    return engine
