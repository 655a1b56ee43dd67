"""The registry database: SQLite in WAL mode or PostgreSQL, and sessions on it."""

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
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from registry import settings
from registry.database_errors import translated_errors
from registry.errors import RegistryUnavailable, SettingsWrong

_BUSY_TIMEOUT_MS = 5_000
_CONNECT_TIMEOUT_S = 5
_POOL_TIMEOUT_S = 10
_STATEMENT_TIMEOUT_MS = 30_000
_WAL_RETRY_S = 0.01


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
            RegistryFull: it has no room for what is written.
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


def _understood(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # The text of the URL is not repeated: it may hold a password.
        raise SettingsWrong("DATABASE_URL is not a URL such as sqlite:///registry.db or postgresql://…") from error
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise SettingsWrong(f"DATABASE_URL names {parsed.drivername!r}; sqlite and postgresql are supported.")
    if parsed.get_backend_name() == "postgresql":
        _check_options(parsed)
    elif parsed.database in (None, "", ":memory:"):
        raise SettingsWrong("DATABASE_URL must name SQLite's file: several processes use it.")
    return parsed


def _check_options(url: URL) -> None:
    # Late: who uses SQLite never loads it.
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    for name in url.query:
        try:
            make_conninfo(**{name: ""})
        except ProgrammingError as error:
            raise SettingsWrong(f"DATABASE_URL has the option {name!r}, which PostgreSQL doesn't know.") from error


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
    assert url.database  # noqa: S101 - it was understood
    if not url.database.startswith("file:"):
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
