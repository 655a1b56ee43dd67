"""Announcements: what has happened to rollouts, shadows and evaluations, until webhooks of it are stored.

The transaction of a transition writes the row that is announced, so none is lost if a process ends right after it. An
announcement is marked only when its webhooks are stored; it may be made twice, with the same key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from registry.database.tables import EvaluationRow, RolloutEventRow, RolloutRow, ShadowRow
from registry.judging.subscriptions import EventKind
from registry.trials.trials import OPEN_EVALUATIONS, ShadowState

#: The most of each kind at once.
_AT_ONCE = 100
#: What the events of rollouts are to others; `load` is none.
_OF_ROLLOUTS = {
    "evaluating": EventKind.ROLLOUT_BEGUN,
    "loading": EventKind.ROLLOUT_BEGUN,
    "step": EventKind.ROLLOUT_STEP,
    "pause": EventKind.ROLLOUT_PAUSED,
    "resume": EventKind.ROLLOUT_RESUMED,
    "promote": EventKind.ROLLOUT_PROMOTED,
    "promoted": EventKind.ROLLOUT_PROMOTED,
    "abort": EventKind.ROLLOUT_ABORTED,
    "aborted": EventKind.ROLLOUT_ABORTED,
}


@dataclass(frozen=True)
class Announcement:
    """One event."""

    #: The table of its row.
    source: type[RolloutEventRow | EvaluationRow | ShadowRow]
    row_id: int | str
    #: None: it is no event to others.
    kind: EventKind | None
    endpoint_name: str
    happened_at: datetime
    #: The same whenever it is made again.
    data: dict[str, Any]

    @property
    def key(self) -> str:
        """Its name among all events of this registry."""
        return f"{self.source.__tablename__}-{self.row_id}"

    def document(self) -> dict[str, Any]:
        """Return the body of its webhook."""
        return {"type": self.kind, "timestamp": self.happened_at.isoformat(), "data": self.data}


def due(session: Session) -> list[Announcement]:
    """Return the events that are to be announced, of each source the oldest first."""
    return [*_of_rollouts(session), *_of_evaluations(session), *_of_shadows(session)]


def mark(session: Session, announced: Sequence[Announcement]) -> None:
    """Record that these need not be announced any more."""
    for source in (RolloutEventRow, EvaluationRow, ShadowRow):
        ids = [each.row_id for each in announced if each.source is source]
        if ids:
            session.execute(
                update(source)
                .where(source.id.in_(ids))
                .values(announced_at=datetime.now(UTC))
                .execution_options(synchronize_session=False)
            )


def _of_rollouts(session: Session) -> list[Announcement]:
    query = (
        select(RolloutEventRow, *_columns(RolloutRow), RolloutRow.steps)
        .join(RolloutRow, RolloutRow.id == RolloutEventRow.rollout_id)
        .where(RolloutEventRow.announced_at.is_(None))
        .order_by(RolloutEventRow.id)
        .limit(_AT_ONCE)
    )
    found = []
    for row in session.execute(query):
        event: RolloutEventRow = row.RolloutEventRow
        data = {"rollout_id": row.id, **_subject(row), "steps": row.steps, "step": None, "weight": None}
        data |= {"event": event.event, "reason": event.reason, "by": event.actor, **event.details}
        data["url"] = f"/deployments/{row.endpoint_name}/rollout"
        kind = _OF_ROLLOUTS.get(event.event)
        found.append(Announcement(RolloutEventRow, event.id, kind, row.endpoint_name, event.happened_at, data))
    return found


def _of_evaluations(session: Session) -> list[Announcement]:
    columns = (EvaluationRow.state, EvaluationRow.verdict, EvaluationRow.error, EvaluationRow.actor)
    query = select(*_columns(EvaluationRow), *columns, EvaluationRow.finished_at)
    query = query.where(EvaluationRow.announced_at.is_(None), EvaluationRow.state.not_in(OPEN_EVALUATIONS))
    found = []
    for row in session.execute(query.order_by(EvaluationRow.finished_at).limit(_AT_ONCE)):
        data = {"evaluation_id": row.id, **_subject(row), "state": row.state, "verdict": row.verdict}
        data |= {"error": row.error, "by": row.actor, "url": f"/evaluations/{row.id}"}
        at = row.finished_at or datetime.now(UTC)
        found.append(Announcement(EvaluationRow, row.id, EventKind.EVALUATION_FINISHED, row.endpoint_name, at, data))
    return found


def _of_shadows(session: Session) -> list[Announcement]:
    columns = (ShadowRow.state, ShadowRow.share, ShadowRow.reason, ShadowRow.actor, ShadowRow.stopped_at)
    query = select(*_columns(ShadowRow), *columns)
    query = query.where(ShadowRow.announced_at.is_(None), ShadowRow.state != ShadowState.RUNNING)
    found = []
    for row in session.execute(query.order_by(ShadowRow.stopped_at).limit(_AT_ONCE)):
        data = {"shadow_id": row.id, **_subject(row), "share": row.share, "state": row.state, "reason": row.reason}
        data |= {"by": row.actor, "url": f"/deployments/{row.endpoint_name}/shadow"}
        at = row.stopped_at or datetime.now(UTC)
        found.append(Announcement(ShadowRow, row.id, EventKind.SHADOW_ENDED, row.endpoint_name, at, data))
    return found


def _columns(table: type[RolloutRow | EvaluationRow | ShadowRow]) -> tuple[Any, ...]:
    return (table.id, table.endpoint_name, table.model_name, table.version, table.stable_version)


def _subject(row: Any) -> dict[str, Any]:
    names = ("endpoint_name", "model_name", "version", "stable_version")
    return {name: getattr(row, name) for name in names}
