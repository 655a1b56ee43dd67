"""Engines for SQLite in WAL mode: readers never wait, and writers wait only briefly."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Dialect, Engine, create_engine, event

from registry.artifacts import private_files
from registry.database.translation import is_locked
from registry.errors import RegistryUnavailable

#: The longest wait for a lock; the same as for any other answer.
_BUSY_TIMEOUT_MS = 1_700
#: For migrations, which may wait for each other.
_PATIENT_BUSY_TIMEOUT_MS = 60_000
_WAL_RETRY_S = 0.01


def new_engine(url: URL, *, patient: bool, may_connect: Callable[[], bool], **options: Any) -> Engine:
    """Create an engine; a `patient` one waits long for locks.

    `may_connect` returns whether to try a new connection now; it may wait a moment.
    """
    assert url.database  # noqa: S101 - `Database` has checked it
    if not url.database.startswith("file:"):
        _prepare_file(Path(url.database))
    # The first write of a transaction takes the write lock at once and waits for it. A transaction that begins with
    # a read lock and then writes would be refused if another has written in between.
    engine = create_engine(url, connect_args={"isolation_level": "IMMEDIATE"}, **options)
    timeout_ms = _PATIENT_BUSY_TIMEOUT_MS if patient else _BUSY_TIMEOUT_MS

    # Not in a "connect" listener, which the engine runs in one thread after the other.
    def connect(dialect: Dialect, _record: object, args: Any, named: Any) -> Any:
        if not may_connect():
            raise _locked()
        connection: Any = dialect.connect(*args, **named)
        try:
            _prepare(connection, timeout_ms)
        except BaseException:
            connection.close()
            raise
        return connection

    event.listen(engine, "do_connect", connect)
    return engine


def _prepare_file(path: Path) -> None:
    """Create the file before SQLite does, without access for others; SQLite copies its mode to its other files."""
    try:
        private_files.make_folder(path.parent)
    except OSError as error:
        raise RegistryUnavailable("The folder of the registry database can't be created.") from error
    with suppress(OSError):  # SQLite will raise its own error
        private_files.make_file(path)
    for suffix in ("", "-wal", "-shm"):
        private_files.close_to_others(path.with_name(path.name + suffix))


def _prepare(connection: Any, timeout_ms: int) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {timeout_ms}")
    cursor.execute("PRAGMA foreign_keys = ON")
    deadline = time.monotonic() + timeout_ms / 1000
    while not _uses_wal(cursor):
        # SQLite itself doesn't wait while another process switches the same new file.
        if time.monotonic() > deadline:
            raise _locked()
        time.sleep(_WAL_RETRY_S)
    cursor.close()


def _uses_wal(cursor: Any) -> bool:
    try:
        (mode,) = cursor.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.OperationalError as error:
        if not is_locked(error):
            raise
        return False
    return mode in ("wal", "memory")


def _locked() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error
