"""Inserts a row unless it exists, in one statement, on both databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CursorResult, Insert
from sqlalchemy.orm import Session

from registry.database.tables import Table


def insert_if_absent(session: Session, table: type[Table], **values: Any) -> bool:
    """Insert a row; return False, and change nothing, if a row with its key exists.

    Waits for a concurrent insert of the same key to be committed or rolled back.
    """
    statement: Insert
    # Imported late: a process needs one of the two, and one that only reads needs none.
    if session.get_bind().dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        statement = sqlite.insert(table).values(**values).on_conflict_do_nothing()
    else:
        from sqlalchemy.dialects import postgresql

        statement = postgresql.insert(table).values(**values).on_conflict_do_nothing()
    # SQLAlchemy drops the row count of an INSERT by default.
    result = session.execute(statement, execution_options={"preserve_rowcount": True})
    assert isinstance(result, CursorResult)  # noqa: S101 - narrows the type
    return result.rowcount == 1
