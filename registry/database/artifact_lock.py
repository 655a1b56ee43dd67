"""A lock of the registry's database between registrations and deletions of artifacts and environments.

It belongs to the transaction: a commit or a rollback releases it.
"""

from __future__ import annotations

from sqlalchemy import false, text, update
from sqlalchemy.orm import Session

from registry.database.tables import ModelRow

#: An arbitrary number that no other program uses for a lock.
_ADVISORY_LOCK = 7_150_323_611


def let_none_be_deleted(session: Session) -> None:
    """Let nothing be deleted until the end of this transaction; other registrations go on.

    On SQLite, a write of this transaction does that.
    """
    if not _is_sqlite(session):  # there the write has excluded every other
        session.execute(text(f"SELECT pg_advisory_xact_lock_shared({_ADVISORY_LOCK})"))


def let_none_be_registered(session: Session) -> None:
    """Let no version be added until the end of this transaction; wait for those that are being added."""
    if _is_sqlite(session):
        # An update of no row is a write, too.
        nothing = update(ModelRow).where(false()).values(last_number=0)
        session.execute(nothing.execution_options(synchronize_session=False))
    else:
        session.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
