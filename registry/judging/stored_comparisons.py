"""The comparisons and reports that evaluations, shadows and rollouts have stored, to remove examples of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, or_, select, update
from sqlalchemy.orm import Session

from registry.database.tables import EvaluationRow, RolloutRow, ShadowRow
from registry.trials.trials import OPEN_EVALUATIONS

Source = type[EvaluationRow | RolloutRow | ShadowRow]
_SOURCES: tuple[Source, ...] = (EvaluationRow, RolloutRow, ShadowRow)


@dataclass(frozen=True)
class StoredComparison:
    """What one of them has stored."""

    source: Source
    row_id: str
    revision: int
    report: dict[str, Any] | None
    comparison: dict[str, Any] | None
    #: Whether it is an evaluation that has not ended, or is not cleared: its sample may be there.
    may_have_sample: bool
    #: Whether it is an evaluation that has not ended: a process may have jobs of it in memory.
    is_open_evaluation: bool


def names(session: Session, endpoint_name: str | None = None) -> list[tuple[Source, str]]:
    """Return the tables and ids of all that have something stored, of one endpoint or of all."""
    found = list[tuple[Source, str]]()
    for source in _SOURCES:
        query = select(source.id).order_by(source.id)
        if endpoint_name is not None:
            query = query.where(source.endpoint_name == endpoint_name)
        if source is EvaluationRow:
            is_stored = (EvaluationRow.report.is_not(None), EvaluationRow.comparison.is_not(None))
            query = query.where(or_(*is_stored, EvaluationRow.cleared_at.is_(None)))
        else:
            query = query.where(source.comparison.is_not(None))
        found += [(source, row_id) for row_id in session.scalars(query)]
    return found


def find(session: Session, source: Source, row_id: str) -> StoredComparison | None:
    """Return what is stored; None if it is gone."""
    query: Any = select(source).where(source.id == row_id).execution_options(populate_existing=True)
    row = session.scalars(query).one_or_none()
    if row is None:
        return None
    if isinstance(row, EvaluationRow):
        return StoredComparison(
            source,
            row_id,
            row.revision,
            row.report,
            row.comparison,
            may_have_sample=row.cleared_at is None,
            is_open_evaluation=row.state in OPEN_EVALUATIONS,
        )
    return StoredComparison(
        source, row_id, row.revision, None, row.comparison, may_have_sample=False, is_open_evaluation=False
    )


def replace(
    session: Session, stored: StoredComparison, report: dict[str, Any] | None, comparison: dict[str, Any] | None
) -> bool:
    """Store them in the place of the ones that were read; return False if the row has changed since.

    The row's revision grows, so that a process that has the former ones in memory reads these.
    """
    source = stored.source
    values: dict[str, Any] = {"comparison": comparison, "revision": source.revision + 1}
    values |= {"report": report} if source is EvaluationRow else {}
    changed = session.execute(
        update(source)
        .where(source.id == stored.row_id, source.revision == stored.revision)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(changed, CursorResult)  # noqa: S101 - narrows the type
    return bool(changed.rowcount)
