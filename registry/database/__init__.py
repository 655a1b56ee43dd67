"""The registry database: SQLite in WAL mode or PostgreSQL, and its sessions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

from sqlalchemy import URL, Engine, ExceptionContext, NullPool, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from registry import settings
from registry.database import sqlite
from registry.database.outage import Outage
from registry.database.translation import is_silence, translated_errors
from registry.errors import SettingsWrong

#: The longest wait for a connection while all are in use; the same as for an answer of the database.
_POOL_TIMEOUT_S = 1.7
#: A dropped connection looks like a hanging server: how long a caller waits for the outage's thread to find out.
_OUTAGE_CHECK_S = 0.5
_POOL_OF: dict[str, dict[str, Any]] = {
    "sqlite": {},
    "postgresql": {"pool_pre_ping": True, "pool_size": 10, "max_overflow": 20},
}


class Database:
    """One database; connects on first use, and again in a forked child.

    During an outage, the first callers wait two seconds each, and later ones not at all.
    """

    def __init__(self, url: str, *, patient: bool = False) -> None:
        """Take a `sqlite:///…`, `postgresql://…` or `postgres://…` URL; `patient` waits long for locks and answers.

        Raises:
            SettingsWrong: the URL is invalid.
        """
        self.url = _parse_url(url)
        self._backend = self.url.get_backend_name()
        self._patient = patient
        self._engine: Engine | None = None
        self._outage = Outage(self._poll)
        self._process_id = 0
        self._lock = Lock()

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine of this process."""
        with self._lock:
            if self._engine is None:
                self._engine = self._new_engine()
                self._process_id = os.getpid()
            elif self._process_id != os.getpid():
                # The parent still uses the inherited connections: drop them without closing.
                self._engine.dispose(close=False)
                self._outage = Outage(self._poll)
                self._process_id = os.getpid()
            return self._engine

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session, the unit of work; uncommitted changes are rolled back.

        Raises:
            RegistryUnavailable: the database can't be reached, is busy, or was never migrated.
            RegistryFull: the database has no room.
        """
        engine = self.engine
        self._outage.refuse()
        with translated_errors(), Session(engine, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        """Close all connections; the database can be used again."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            self._outage.give_up()
            self._outage = Outage(self._poll)

    def _new_engine(self) -> Engine:
        engine = self._engine_with(
            lambda: self._outage.is_over(within_s=_OUTAGE_CHECK_S),
            pool_timeout=_POOL_TIMEOUT_S,
            **_POOL_OF[self._backend],
        )
        if not self._patient:
            event.listen(engine, "handle_error", self._notice_silence)
        return engine

    def _engine_with(self, may_connect: Callable[[], bool], **options: Any) -> Engine:
        if self._backend == "sqlite":
            return sqlite.new_engine(self.url, patient=self._patient, may_connect=may_connect, **options)
        # Imported late: not needed with SQLite.
        from registry.database import postgresql

        return postgresql.new_engine(self.url, patient=self._patient, may_connect=may_connect, **options)

    def _notice_silence(self, context: ExceptionContext) -> None:
        if is_silence(context.original_exception, context.statement):
            self._outage.begin()

    def _poll(self) -> None:
        """Query the database over a new connection."""
        engine = self._engine_with(lambda: True, poolclass=NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")


@lru_cache(maxsize=1)
def default_database() -> Database:
    """Return the database of `DATABASE_URL`, one for each process."""
    return Database(settings.load().database_url)


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # The message omits the URL, which may contain a password.
        raise SettingsWrong("DATABASE_URL is not a URL such as sqlite:///registry.db or postgresql://…") from error
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise SettingsWrong(f"DATABASE_URL has the scheme {parsed.drivername!r}; sqlite and postgresql are supported.")
    if parsed.get_backend_name() == "postgresql":
        _check_options(parsed)
    elif parsed.database in (None, "", ":memory:"):
        raise SettingsWrong("DATABASE_URL must contain the path of SQLite's file, which several processes use.")
    return parsed


def _check_options(url: URL) -> None:
    # Imported late: not needed with SQLite.
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    for name in url.query:
        try:
            make_conninfo(**{name: ""})
        except ProgrammingError as error:
            raise SettingsWrong(f"DATABASE_URL has the option {name!r}, which PostgreSQL doesn't support.") from error
