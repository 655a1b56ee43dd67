"""The registry database: SQLite in WAL mode or PostgreSQL, sessions on it, and its errors in our words."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from registry import settings
from registry.errors import RegistryUnavailable, SettingsWrong

_BUSY_TIMEOUT_MS = 5_000
_CONNECT_TIMEOUT_S = 5
_POOL_TIMEOUT_S = 10
_STATEMENT_TIMEOUT_MS = 30_000
_WAL_RETRY_S = 0.01
#: PostgreSQL's codes for an unknown table and an unknown column.
_UNKNOWN_TO_POSTGRESQL = frozenset({"42P01", "42703"})
_UNKNOWN_TO_SQLITE = ("no such table", "no such column", "has no column named")


class Database:
    """One database; connects when it is first used, and anew in a forked child."""

    def __init__(self, url: str) -> None:
        """Take a `sqlite:///…`, `postgresql://…` or `postgres://…` URL.

        Raises:
            SettingsWrong: it is no such URL.
        """
        self.url = _understood(url)
        self._engine: Engine | None = None
        self._process_id = 0
        self._lock = Lock()

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine of this process."""
        with self._lock:
            if self._engine is None:
                self._engine = _new_engine(self.url)
                self._process_id = os.getpid()
            elif self._process_id != os.getpid():
                # The parent still uses the inherited connections: forget them, unclosed.
                self._engine.dispose(close=False)
                self._process_id = os.getpid()
            return self._engine

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a session, the unit of work; what the caller doesn't commit is rolled back.

        Raises:
            RegistryUnavailable: the database can't be reached, is busy, or was never migrated.
        """
        with translated_errors(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        """Close all connections; it can be used again."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()


@lru_cache(maxsize=1)
def default_database() -> Database:
    """Return the database of `DATABASE_URL`, one for the process."""
    return Database(settings.load().database_url)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise RegistryUnavailable for what a driver raises when the database doesn't do its part."""
    try:
        yield
    except PoolTimeout as error:
        raise RegistryUnavailable("All connections to the registry database are in use; try again.") from error
    except (InterfaceError, InternalError, OperationalError, ProgrammingError) as error:
        if _lacks_tables(error):
            raise RegistryUnavailable(
                "The registry database lacks tables: bring it up to date with `python -m registry.migrate`."
            ) from error
        if isinstance(error, ProgrammingError):
            raise
        raise RegistryUnavailable("The registry database can't be reached, or is busy; try again.") from error


def _lacks_tables(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return any(words in str(error.orig) for words in _UNKNOWN_TO_SQLITE)
    return getattr(error.orig, "sqlstate", None) in _UNKNOWN_TO_POSTGRESQL


def _understood(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # The text of the URL is not repeated: it may hold a password.
        raise SettingsWrong("DATABASE_URL is not a URL such as sqlite:///registry.db or postgresql://…") from error
    if parsed.drivername in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise SettingsWrong(f"DATABASE_URL names {parsed.drivername!r}; sqlite and postgresql are supported.")
    return parsed


def _new_engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _new_sqlite_engine(url)
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=20,
        pool_timeout=_POOL_TIMEOUT_S,
        connect_args={"connect_timeout": _CONNECT_TIMEOUT_S, "tcp_user_timeout": _STATEMENT_TIMEOUT_MS},
    )
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _new_sqlite_engine(url: URL) -> Engine:
    if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryUnavailable("The folder of the registry database can't be made.") from error
    # Reads stand alone, and the first write takes the write lock at once and waits for it: a
    # transaction that begins as a reader and then writes is refused when another wrote meanwhile.
    engine = create_engine(url, pool_timeout=_POOL_TIMEOUT_S, connect_args={"isolation_level": "IMMEDIATE"})
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = {_STATEMENT_TIMEOUT_MS}")
    connection.commit()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA foreign_keys = ON")
    deadline = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while not _uses_wal(cursor):
        # SQLite doesn't wait by itself while another process switches the same new file.
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("database is locked")
        time.sleep(_WAL_RETRY_S)
    cursor.close()


def _uses_wal(cursor: Any) -> bool:
    try:
        (mode,) = cursor.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        return False
    return mode in ("wal", "memory")
