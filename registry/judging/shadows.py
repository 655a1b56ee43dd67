"""Shadows: a candidate predicts jobs of an endpoint after their ends, so that no caller waits for it or sees it.

running ─► stopped | failed
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session, defer

from registry import names
from registry.database.tables import ShadowRow
from registry.errors import SettingsInvalid, ShadowNotFound
from registry.history import Action
from registry.judging import rollouts
from registry.trials import candidates
from registry.trials.candidates import Placement
from registry.trials.trials import ShadowState


@dataclass(frozen=True)
class Shadow:
    """A shadow, without the state of its comparison."""

    id: str
    endpoint_name: str
    model_name: str
    version: str
    stable_version: str
    #: The share of the endpoint's jobs that the candidate predicts as well.
    share: float
    #: `pairs`, `disagreements`, `pairs_id`: what was read of its pairs.
    options: dict[str, Any]
    state: ShadowState
    reason: str | None
    actor: str | None
    started_at: datetime
    stopped_at: datetime | None
    revision: int

    @property
    def is_active(self) -> bool:
        """Whether it goes on."""
        return self.state is ShadowState.RUNNING


def create(
    session: Session, endpoint_name: str, version: str, share: float = 1.0, *, actor: str | None = None
) -> Shadow:
    """Begin a shadow of a version of the endpoint's model.

    Raises:
        DeploymentNotFound, VersionNotFound: there is no such endpoint or version.
        SettingsInvalid: the share is none.
        TrialRefused: the endpoint isn't served, or serves this version.
        TrialActive: it has a shadow or a rollout.
    """
    if not 0 < share <= 1:
        raise SettingsInvalid("share must be above 0 and up to 1.")
    model_name, stable_version = rollouts.held(session, endpoint_name, version)
    created = ShadowRow(
        id=uuid.uuid4().hex,
        endpoint_name=endpoint_name,
        model_name=model_name,
        version=version,
        stable_version=stable_version,
        share=share,
        options={},
        state=ShadowState.RUNNING,
        actor=actor,
        started_at=datetime.now(UTC),
        revision=1,
    )
    session.add(created)
    session.flush()
    placement = Placement(created.id, model_name, version, 0.0, share, created.id, "stable")
    candidates.place(session, endpoint_name, placement, Action.SHADOW, actor=actor)
    return find(session, created.id)


def find(session: Session, shadow_id: str) -> Shadow:
    """Return a shadow by its id. Raises ShadowNotFound."""
    found = session.scalars(_read().where(ShadowRow.id == shadow_id)).one_or_none()
    if found is None:
        raise ShadowNotFound(shadow_id)
    return _view(found)


def latest(session: Session, endpoint_name: str) -> Shadow:
    """Return the running or else the latest shadow of an endpoint. Raises ShadowNotFound."""
    found = None
    if names.could_exist(endpoint_name):
        query = _read().where(ShadowRow.endpoint_name == endpoint_name).order_by(ShadowRow.started_at.desc())
        found = session.scalars(query.limit(1)).one_or_none()
    if found is None:
        raise ShadowNotFound(endpoint_name)
    return _view(found)


def active(session: Session) -> list[Shadow]:
    """Return the shadows that go on, oldest first."""
    query = _read().where(ShadowRow.state == ShadowState.RUNNING).order_by(ShadowRow.started_at)
    return [_view(row) for row in session.scalars(query)]


def comparison(session: Session, shadow_id: str) -> dict[str, Any] | None:
    """Return the state of the comparison of a shadow's pairs; None without one."""
    return session.scalar(select(ShadowRow.comparison).where(ShadowRow.id == shadow_id))


def stop(session: Session, shadow: Shadow, reason: str | None = None, *, actor: str | None = None) -> None:
    """Running → stopped: the candidate is gone; the report stays. Raises ShadowNotFound if none runs."""
    _end(session, shadow, ShadowState.STOPPED, reason, actor)


def fail(session: Session, shadow: Shadow, reason: str) -> None:
    """Running → failed: no worker can load the candidate. Raises ShadowNotFound if none runs."""
    _end(session, shadow, ShadowState.FAILED, reason, None)


def save_pairs(session: Session, shadow: Shadow, figures: Mapping[str, Any], comparison: Mapping[str, Any]) -> bool:
    """Store what pairs have been read, unless the row has changed since it was read; return whether it did."""
    changed = session.execute(
        update(ShadowRow)
        .where(ShadowRow.id == shadow.id, ShadowRow.revision == shadow.revision)
        .values(options={**shadow.options, **figures}, comparison=dict(comparison), revision=ShadowRow.revision + 1)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(changed, CursorResult)  # noqa: S101 - narrows the type
    return bool(changed.rowcount)


def _end(session: Session, shadow: Shadow, state: ShadowState, reason: str | None, actor: str | None) -> None:
    candidates.remove(session, shadow.endpoint_name, shadow.id, Action.SHADOW_END, actor=actor)
    changed = session.execute(
        update(ShadowRow)
        .where(ShadowRow.id == shadow.id, ShadowRow.state == ShadowState.RUNNING)
        .values(state=state, reason=reason, stopped_at=datetime.now(UTC), revision=ShadowRow.revision + 1)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(changed, CursorResult)  # noqa: S101 - narrows the type
    if not changed.rowcount:
        raise ShadowNotFound(shadow.endpoint_name)


def _read() -> Any:
    return select(ShadowRow).options(defer(ShadowRow.comparison)).execution_options(populate_existing=True)


def _view(row: ShadowRow) -> Shadow:
    fields = {name: getattr(row, name) for name in Shadow.__dataclass_fields__}
    return Shadow(**{**fields, "options": dict(row.options), "state": ShadowState(row.state)})
