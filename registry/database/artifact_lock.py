"""A lock of the registry's database between registrations and deletions of artifacts.

It belongs to the transaction: a commit or a rollback releases it.
"""

from __future__ import annotations

from sqlalchemy import false, text, update
from sqlalchemy.orm import Session

from registry.database.tables import ModelRow

#: An arbitrary number that no other program uses for a lock.
_ADVISORY_LOCK = 7_150_323_611


def let_none_be_deleted(session: Session) -> None:
    """Let no artifact be deleted until the end of this transaction; other registrations go on."""
    if _is_sqlite(session):
        _take_write_lock(session)
    else:
        session.execute(text(f"SELECT pg_advisory_xact_lock_shared({_ADVISORY_LOCK})"))


def let_none_be_registered(session: Session) -> None:
    """Let no version be added until the end of this transaction; wait for those that are being added."""
    if _is_sqlite(session):
        _take_write_lock(session)
    else:
        session.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def _take_write_lock(session: Session) -> None:
    # SQLite has one writer at a time. An update of no row is a write.
    session.execute(update(ModelRow).where(false()).values(last_number=0).execution_options(synchronize_session=False))
