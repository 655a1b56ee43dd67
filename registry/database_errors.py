"""What a database and its driver raise, in our words; a driver's text may name hosts and users, so none is repeated."""

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
_LACKS_TABLES = "The registry database lacks tables: bring it up to date with `python -m registry.migrate`."
_READ_ONLY = "The registry database can't be written: make its file and folder writable for this user."
_DAMAGED = "The file of the registry database is damaged, or no SQLite database: restore it from a backup."
_LACKS_RIGHTS = (
    "The registry database refuses its user: grant it what it needs on the schema and the tables, "
    "for `python -m registry.migrate` also to create tables."
)
_NOT_OURS = "The registry database holds another program's tables: let DATABASE_URL name one for the registry alone."

_UNKNOWN_TO_SQLITE = ("no such table", "no such column", "has no column named")
#: A full disk, quota or size limit, also where SQLite calls it a failed write.
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
#: Statements or values that are wrong: mistakes in this package, which no message of ours explains.
_MISTAKES = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise RegistryUnavailable, or RegistryFull, when the database doesn't do its part."""
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
    code: int = getattr(error, "sqlite_errorcode", 0)  # errors of the module itself have none
    if code in _FULL_SQLITE:
        return RegistryFull(_FULL)
    message = _MESSAGES_OF_SQLITE.get(code & 0xFF)
    return RegistryUnavailable(message) if message else None


def _of_postgresql(error: BaseException | None) -> RegistryUnavailable | None:
    code = getattr(error, "sqlstate", None)
    if code == _FULL_POSTGRESQL:
        return RegistryFull(_FULL)
    message = _MESSAGES_OF_POSTGRESQL.get(code) if code else None
    return RegistryUnavailable(message) if message else None
