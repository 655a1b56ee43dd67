"""Translates errors of databases and drivers; messages omit the driver's text, which may name hosts and users."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from registry.errors import RegistryFull, RegistryUnavailable

_UNAVAILABLE = "The registry database can't be reached, or is busy; try again."
_ALL_IN_USE = "All connections to the registry database are in use; try again."
_FULL = (
    "The registry database can't grow: its disk is full, or a quota or a size limit is reached. "
    "Make room for it and try again; nothing was changed."
)
_LACKS_TABLES = "The registry database lacks tables: bring it up to date with `queuecast migrate`."
_READ_ONLY = "The registry database can't be written: make its file and folder writable for this user."
_DAMAGED = "The file of the registry database is damaged, or not an SQLite database: restore it from a backup."
_LACKS_RIGHTS = (
    "The registry database refuses its user: grant it access to the schema and the tables, and for "
    "`queuecast migrate` the right to create tables."
)
_NOT_OURS = "The registry database contains another program's tables: set DATABASE_URL to a database of its own."

_UNKNOWN_TO_SQLITE = ("no such table", "no such column", "has no column named")
#: A full disk, quota or size limit, also if SQLite reports a failed write.
_FULL_SQLITE = frozenset({
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_SHMSIZE,
})  # fmt: skip
_MESSAGES_OF_SQLITE = {
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
_FULL_POSTGRESQL = "53100"
_MESSAGES_OF_POSTGRESQL = {
    "42P01": _LACKS_TABLES,  # an unknown table
    "42703": _LACKS_TABLES,  # an unknown column
    "42P07": _NOT_OURS,  # a table that exists already
    "42501": _LACKS_RIGHTS,
}
#: Invalid statements or values: mistakes in this package, which are raised unchanged.
_MISTAKES = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


class NoAnswer(Exception):
    """Marks a driver's error as a missing answer of the server; the error inherits from both."""


def is_silence(error: BaseException, statement: str | None) -> bool:
    """Whether a driver's error means that the database answers no caller; `statement` is None while connecting.

    Readers of an SQLite file don't wait for writers, so a lock that blocks a reader blocks all callers.
    """
    if isinstance(error, sqlite3.Error):
        return is_locked(error) and (statement is None or statement.lstrip().upper().startswith("SELECT"))
    return isinstance(error, NoAnswer)


def is_locked(error: sqlite3.Error) -> bool:
    """Whether SQLite gave up waiting for a lock."""
    return _sqlite_code(error) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate errors of the database to RegistryUnavailable or RegistryFull."""
    try:
        yield
    except PoolTimeout as error:
        raise RegistryUnavailable(_ALL_IN_USE) from error
    except DBAPIError as error:
        translated = _of_sqlite(error.orig) if isinstance(error.orig, sqlite3.Error) else _of_postgresql(error.orig)
        if translated is None and isinstance(error, _MISTAKES):
            raise
        raise translated or RegistryUnavailable(_UNAVAILABLE) from error


def _of_sqlite(error: sqlite3.Error) -> RegistryUnavailable | None:
    if any(words in str(error) for words in _UNKNOWN_TO_SQLITE):
        return RegistryUnavailable(_LACKS_TABLES)
    if "already exists" in str(error):
        return RegistryUnavailable(_NOT_OURS)
    code = _sqlite_code(error)
    if code in _FULL_SQLITE:
        return RegistryFull(_FULL)
    message = _MESSAGES_OF_SQLITE.get(code & 0xFF)
    return RegistryUnavailable(message) if message else None


def _sqlite_code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)  # errors of the module itself have none
    return code


def _of_postgresql(error: BaseException | None) -> RegistryUnavailable | None:
    code = getattr(error, "sqlstate", None)
    if code == _FULL_POSTGRESQL:
        return RegistryFull(_FULL)
    message = _MESSAGES_OF_POSTGRESQL.get(code) if code else None
    return RegistryUnavailable(message) if message else None
