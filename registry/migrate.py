"""Migrates the registry database's schema up and down; safe for concurrent processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from registry import settings
from registry.database import Database
from registry.database.translation import translated_errors
from registry.errors import RegistryAbsent, RegistryError, RegistryUnavailable

#: An arbitrary number that no other program uses for a lock.
_ADVISORY_LOCK = 7_150_323_610


def upgrade(url: str | None = None, revision: str = "head") -> None:
    """Upgrade the schema to `revision`, by default in the database of `DATABASE_URL`.

    Raises:
        RegistryUnavailable: the database can't be reached, or was migrated by a newer release.
    """
    with _locked(url) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(url: str | None, revision: str) -> None:
    """Downgrade the schema to `revision`; `base` is an empty database.

    Raises:
        RegistryUnavailable: the database can't be reached, or was migrated by a newer release.
    """
    with _locked(url) as connection:
        command.downgrade(_config(connection), revision)


def current(url: str | None = None) -> str | None:
    """Return the database's revision, or None if it was never migrated.

    Raises:
        RegistryUnavailable: the database can't be reached.
    """
    with _connected(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def refuse_absent() -> None:
    """Refuse to go on without a registry, and create none: the command may run in the wrong folder.

    Raises:
        RegistryAbsent: there is none in the database of `DATABASE_URL`; the message says what to set.
        RegistryUnavailable: the database can't be reached.
    """
    url = Database(settings.load().database_url).url
    is_file = url.get_backend_name() == "sqlite" and not str(url.database).startswith("file:")
    if (is_file and not Path(str(url.database)).exists()) or current() is None:
        where = url.database if is_file else url.render_as_string(hide_password=True)
        raise RegistryAbsent(
            f"There is no registry in {where}. Set QUEUECAST_DATA_DIR to the data folder of the service, or "
            "DATABASE_URL to its database, as they are where the service runs."
        )


def head() -> str | None:
    """Return the revision that this release requires."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def _config(connection: Connection | None) -> Config:
    config = Config()
    folder = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(url: str | None) -> Iterator[Connection]:
    database = Database(url or settings.load().database_url, patient=True)
    try:
        with translated_errors(), database.engine.connect() as connection:
            yield connection
    finally:
        database.close()


@contextmanager
def _locked(url: str | None) -> Iterator[Connection]:
    """Yield a connection in a transaction that excludes other migrations."""
    with _connected(url) as connection:
        if connection.dialect.name == "sqlite":
            # Tables are changed by creating new ones, so references to them must not be enforced meanwhile.
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
        _refuse_newer(connection)
        yield connection
        connection.commit()


def _refuse_newer(connection: Connection) -> None:
    found = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(_config(None)).walk_revisions()}
    if found is not None and found not in known:
        raise RegistryUnavailable(
            f"The registry database was migrated by a newer release, to revision {found!r}: run that release."
        )


def main() -> int:
    """Upgrade the database of `DATABASE_URL`; return the exit code."""
    try:
        before = current()
        upgrade()
        after = current()
    except RegistryError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's output
        return 1
    print(f"The registry database is at {after}" + ("." if before == after else f" (was: {before or 'empty'})."))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
