"""Copies a registry into another, empty database: from SQLite to PostgreSQL, or back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, Table, func, insert, inspect, select, text

from registry import migrate, settings
from registry.database import Database
from registry.database.tables import Table as OwnTable
from registry.database.translation import translated_errors
from registry.errors import CopyRefused

ReportProgress = Callable[[str], None]
_CHUNK_ROWS = 500
_REVISIONS = "alembic_version"


def copy(target_url: str, report_progress: ReportProgress = lambda _: None) -> dict[str, int]:
    """Copy the registry of `DATABASE_URL` as it is at one moment; return the number of rows by table.

    The target gets its tables first. All rows are written in one transaction, and compared before it is committed:
    after an error the target is empty, and the copy can be made again.

    Raises:
        RegistryAbsent: there is no registry to copy.
        CopyRefused: the target is the same database or has rows, or a row in the copy differs.
        RegistryUnavailable: one of the databases can't be reached or written.
        SettingsWrong: the target's URL is invalid.
    """
    source, target = Database(settings.load().database_url, patient=True), Database(target_url, patient=True)
    try:
        migrate.refuse_absent()
        _refuse_other_release()
        if source.url == target.url:
            raise CopyRefused("The target is the registry itself.")
        _refuse_filled(target)
        report_progress("Tables")
        migrate.upgrade(target_url)
        with translated_errors(), _snapshot(source) as original, target.engine.begin() as made:
            _take_time(made)
            return _copied(original, made, report_progress)
    finally:
        source.close()
        target.close()


def _refuse_other_release() -> None:
    found, head = migrate.current(), migrate.head()
    if found != head:
        raise CopyRefused(
            f"The registry is at revision {found}, and this release needs {head}: run queuecast migrate first."
        )


@contextmanager
def _snapshot(source: Database) -> Iterator[Connection]:
    """Yield a connection that reads one state, whatever others write meanwhile."""
    with source.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # Python's driver begins none for reads
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")
            _take_time(connection)
        yield connection
        connection.rollback()


def _take_time(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


def _copied(original: Connection, made: Connection, report_progress: ReportProgress) -> dict[str, int]:
    tables = OwnTable.metadata.sorted_tables  # those that others refer to come first
    _refuse_unknown_tables(original, tables)
    _refuse_rows(made, tables)
    counts = {}
    for table in tables:
        rows = [dict(row._mapping) for row in original.execute(select(table))]  # noqa: SLF001 - its public name
        report_progress(f"{table.name}: {len(rows)} rows")
        for start in range(0, len(rows), _CHUNK_ROWS):
            made.execute(insert(table), rows[start : start + _CHUNK_ROWS])
        _set_sequences(made, table)
        _compare(made, table, rows)
        counts[table.name] = len(rows)
    return counts


def _refuse_unknown_tables(original: Connection, tables: list[Table]) -> None:
    found = set(inspect(original).get_table_names()) - {table.name for table in tables} - {_REVISIONS}
    if found and original.dialect.name == "sqlite":  # the file is the registry's alone
        raise CopyRefused(f"The registry has tables that this release doesn't know: {', '.join(sorted(found))}.")


def _refuse_filled(target: Database) -> None:
    """Refuse a target that has rows before its tables are changed."""
    with translated_errors(), target.engine.connect() as connection:
        existing = set(inspect(connection).get_table_names())
        _refuse_rows(connection, [table for table in OwnTable.metadata.sorted_tables if table.name in existing])


def _refuse_rows(made: Connection, tables: list[Table]) -> None:
    filled = [table.name for table in tables if made.scalar(select(func.count()).select_from(table))]
    if filled:
        raise CopyRefused(
            f"The target has rows already, in {', '.join(filled)}. Nothing was changed: make a new, empty database."
        )


def _set_sequences(made: Connection, table: Table) -> None:
    """Let PostgreSQL number the next rows after the copied ones; SQLite does so by itself."""
    if made.dialect.name != "postgresql":
        return
    for column in table.primary_key.columns:
        named = {"table": table.name, "column": column.name}
        sequence = made.scalar(text("SELECT pg_get_serial_sequence(:table, :column)"), named)
        if sequence is not None:
            highest = made.scalar(select(func.max(column)))
            made.execute(
                text("SELECT setval(CAST(:sequence AS regclass), :next, false)"),
                {"sequence": sequence, "next": (highest or 0) + 1},
            )


def _compare(made: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[column.key] for column in table.primary_key.columns)

    found: list[Row[Any]] = list(made.execute(select(table)))
    there = {key(dict(row._mapping)): dict(row._mapping) for row in found}  # noqa: SLF001 - its public name
    if len(found) != len(rows) or any(there.get(key(row)) != row for row in rows):
        raise CopyRefused(f"Rows of {table.name} differ in the copy. Nothing was kept.")
