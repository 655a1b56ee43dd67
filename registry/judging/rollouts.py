"""Rollouts: a candidate answers a growing share of an endpoint's jobs, until it is promoted or aborted.

    evaluating ─► loading ─► running ⇄ paused ─► promoted | aborted

Each transition is a conditional update: it refuses if the rollout is in another state, and for the background process,
of which there may be several, also if the row has changed since it was read. The candidate's place at the deployment,
the deployment's history and the rollout's events are written in the same transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session, defer

from registry import deployments, names, versions
from registry.database.tables import EvaluationRow, RolloutEventRow, RolloutRow
from registry.errors import RolloutNotFound, RolloutRefused, TrialRefused
from registry.history import Action
from registry.serving.rollout_plan import Plan, Rules
from registry.trials import candidates, trials
from registry.trials.candidates import Placement
from registry.trials.trials import ACTIVE_ROLLOUTS, RolloutState

#: The share of the stable version's jobs that the candidate predicts as well, after their ends, on hosts that are idle.
COMPARED_SHARE = 0.1
#: The events of a rollout that are shown.
SHOWN_EVENTS = 200


@dataclass(frozen=True)
class Rollout:
    """A rollout, without the state of its comparison."""

    id: str
    endpoint_name: str
    model_name: str
    version: str
    stable_version: str
    steps: list[float]
    #: The index of the present step; -1 before the first.
    step: int
    min_jobs: int
    step_s: float
    rules: Rules
    on_failure: str
    evaluation_id: str | None
    state: RolloutState
    reason: str | None
    #: `step_start`: the candidate's jobs when the step began; `pairs`, `disagreements`, `pairs_id`: what was read.
    figures: dict[str, Any]
    actor: str | None
    created_at: datetime
    #: When the present step began, or the load of its candidate after an evaluation.
    step_started_at: datetime | None
    finished_at: datetime | None
    revision: int

    @property
    def is_active(self) -> bool:
        """Whether it goes on."""
        return self.state in ACTIVE_ROLLOUTS

    @property
    def weight(self) -> float:
        """The share of jobs that the candidate answers (0 to 1)."""
        if self.state is RolloutState.PROMOTED:
            return 1.0
        return self.steps[self.step] / 100 if self.is_active and self.step >= 0 else 0.0


@dataclass(frozen=True)
class Event:
    """What happened to a rollout."""

    event: str
    #: None is the background process, or a caller without an API key.
    actor: str | None
    reason: str | None
    details: dict[str, Any]
    happened_at: datetime

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {
            "event": self.event,
            "by": self.actor,
            "at": self.happened_at.isoformat(),
            "reason": self.reason,
            "details": self.details,
        }


def create(  # noqa: PLR0913 - a rollout, by name
    session: Session,
    endpoint_name: str,
    version: str,
    plan: Plan,
    *,
    evaluation_id: str | None = None,
    actor: str | None = None,
) -> Rollout:
    """Begin a rollout of a version of the endpoint's model: with its evaluation, or else by loading the candidate.

    Raises:
        DeploymentNotFound, VersionNotFound: there is no such endpoint or version.
        SettingsInvalid: the plan can't be followed.
        TrialRefused: the endpoint isn't served, serves this version, or the evaluation is one of something else.
        TrialActive: it has a shadow or a rollout.
    """
    plan.check()
    model_name, stable_version = held(session, endpoint_name, version)
    if evaluation_id is not None:
        _refuse_other(session, endpoint_name, version, evaluation_id)
    created = RolloutRow(
        id=uuid.uuid4().hex,
        endpoint_name=endpoint_name,
        model_name=model_name,
        version=version,
        stable_version=stable_version,
        steps=list(plan.steps),
        step=-1,
        min_jobs=plan.min_jobs,
        step_s=plan.step_s,
        rules=vars(plan.rules),
        on_failure=plan.on_failure,
        evaluation_id=evaluation_id,
        state=RolloutState.EVALUATING if evaluation_id else RolloutState.LOADING,
        figures={},
        actor=actor,
        created_at=datetime.now(UTC),
        revision=1,
    )
    session.add(created)
    session.flush()
    trials.record_event(session, created.id, created.state, actor=actor)
    if not evaluation_id:
        _place(session, _view(created), 0.0, actor)
    return find(session, created.id)


def held(session: Session, endpoint_name: str, version: str) -> tuple[str, str]:
    """Lock an endpoint for a trial of a version of its model; return the model and the version that it serves.

    Raises:
        DeploymentNotFound, VersionNotFound, TrialRefused, TrialActive: as for `create`.
    """
    found = deployments.find(session, endpoint_name)
    if found is not None:
        versions.hold(session, found.model_name, version)
    row = candidates.lock(session, endpoint_name)
    if row.version == version:
        raise TrialRefused(endpoint_name, f"It serves version {version} already.")
    versions.get_version(session, row.model_name, version)
    trials.refuse_active(session, endpoint_name)
    return row.model_name, row.version


def _refuse_other(session: Session, endpoint_name: str, version: str, evaluation_id: str) -> None:
    query = select(EvaluationRow.endpoint_name, EvaluationRow.version).where(EvaluationRow.id == evaluation_id)
    if session.execute(query).first() != (endpoint_name, version):
        reason = f"{evaluation_id} is no evaluation of version {version} on this endpoint."
        raise TrialRefused(endpoint_name, reason)


def find(session: Session, rollout_id: str) -> Rollout:
    """Return a rollout by its id. Raises RolloutNotFound."""
    found = session.scalars(_read().where(RolloutRow.id == rollout_id)).one_or_none()
    if found is None:
        raise RolloutNotFound(rollout_id)
    return _view(found)


def latest(session: Session, endpoint_name: str) -> Rollout:
    """Return the active or else the latest rollout of an endpoint. Raises RolloutNotFound."""
    found = of_endpoint(session, endpoint_name, limit=1)
    if not found:
        raise RolloutNotFound(endpoint_name)
    return found[0]


def of_endpoint(session: Session, endpoint_name: str, limit: int = 50) -> list[Rollout]:
    """Return the rollouts of an endpoint, newest first."""
    if not names.could_exist(endpoint_name):
        return []
    query = _read().where(RolloutRow.endpoint_name == endpoint_name)
    return [_view(row) for row in session.scalars(query.order_by(RolloutRow.created_at.desc()).limit(limit))]


def active(session: Session) -> list[Rollout]:
    """Return the rollouts that go on, oldest first."""
    query = _read().where(RolloutRow.state.in_(ACTIVE_ROLLOUTS)).order_by(RolloutRow.created_at)
    return [_view(row) for row in session.scalars(query)]


def latest_of_each(session: Session, since: datetime) -> list[Rollout]:
    """Return the latest rollout of each endpoint that is active or has ended since a time, by endpoint."""
    newest: dict[str, Rollout] = {}
    query = _read().where((RolloutRow.finished_at.is_(None)) | (RolloutRow.finished_at >= since))
    for row in session.scalars(query.order_by(RolloutRow.created_at)):
        newest[row.endpoint_name] = _view(row)
    return [newest[name] for name in sorted(newest)]


def events(session: Session, rollout_id: str) -> list[Event]:
    """Return what happened to a rollout, newest first."""
    query = select(RolloutEventRow).where(RolloutEventRow.rollout_id == rollout_id)
    rows = session.scalars(query.order_by(RolloutEventRow.id.desc()).limit(SHOWN_EVENTS))
    return [Event(row.event, row.actor, row.reason, row.details, row.happened_at) for row in rows]


def comparison(session: Session, rollout_id: str) -> dict[str, Any] | None:
    """Return the state of the comparison of a rollout's pairs; None without one."""
    return session.scalar(select(RolloutRow.comparison).where(RolloutRow.id == rollout_id))


@dataclass(frozen=True)
class EvaluationResult:
    """What the evaluation of a rollout has found."""

    is_over: bool
    verdict: str | None
    error: str | None


def evaluation(session: Session, rollout: Rollout) -> EvaluationResult:
    """Return what the evaluation has found that a rollout begins with; one that was deleted has found nothing."""
    query = select(EvaluationRow.finished_at, EvaluationRow.verdict, EvaluationRow.error)
    found = session.execute(query.where(EvaluationRow.id == rollout.evaluation_id)).first()
    if found is None:
        return EvaluationResult(is_over=True, verdict=None, error="the evaluation was deleted")
    return EvaluationResult(found.finished_at is not None, found.verdict, found.error)


def load(session: Session, rollout: Rollout, *, reason: str | None = None) -> None:
    """Evaluating → loading: the evaluation has found nothing against it, and workers load the candidate."""
    _place(session, rollout, 0.0, None)
    states, now = (RolloutState.EVALUATING,), datetime.now(UTC)
    _transit(session, rollout, "load", states, RolloutState.LOADING, reason=reason, step_started_at=now)


def begin(session: Session, rollout: Rollout, figures: Mapping[str, Any]) -> None:
    """Loading → running: workers have loaded the candidate, and it answers the jobs of the first step."""
    _step(session, rollout, 0, (RolloutState.LOADING,), figures)


def advance(session: Session, rollout: Rollout, figures: Mapping[str, Any], reason: str) -> None:
    """Running → running: the next step."""
    _step(session, rollout, rollout.step + 1, (RolloutState.RUNNING,), figures, reason)


def pause(  # noqa: PLR0913 - a transition, by name
    session: Session,
    rollout: Rollout,
    reason: str | None,
    *,
    actor: str | None = None,
    details: Mapping[str, Any] | None = None,
    is_strict: bool = True,
) -> None:
    """running, evaluating, loading → paused: the candidate keeps its weight, and no step follows."""
    states = (RolloutState.RUNNING, RolloutState.EVALUATING, RolloutState.LOADING)
    _transit(
        session, rollout, "pause", states, RolloutState.PAUSED, reason=reason, actor=actor, details=details,
        is_strict=is_strict,
    )  # fmt: skip


def resume(session: Session, rollout: Rollout, *, actor: str | None = None) -> None:
    """Paused → running: the step lasts as long as a new one. Without a step yet, → loading."""
    paused, now = (RolloutState.PAUSED,), datetime.now(UTC)
    if rollout.step < 0:
        _refuse_unless(rollout, "resume", paused)
        _place(session, rollout, 0.0, actor)
        _transit(
            session, rollout, "resume", paused, RolloutState.LOADING, actor=actor, is_strict=False, step_started_at=now
        )
        return
    _transit(
        session, rollout, "resume", paused, RolloutState.RUNNING, actor=actor, is_strict=False, step_started_at=now
    )


def promote(  # noqa: PLR0913 - a transition, by name
    session: Session,
    rollout: Rollout,
    reason: str | None,
    *,
    actor: str | None = None,
    details: Mapping[str, Any] | None = None,
    is_strict: bool = True,
) -> None:
    """running, paused → promoted: the endpoint serves the candidate's version alone."""
    states = (RolloutState.RUNNING, RolloutState.PAUSED)
    _refuse_unless(rollout, "promote", states)
    # The version is locked, then the deployment's row, as by a deploy. The rollout ends before the swap would end it.
    versions.hold(session, rollout.model_name, rollout.version)
    candidates.lock(session, rollout.endpoint_name)
    _transit(
        session, rollout, "promote", states, RolloutState.PROMOTED, reason=reason, actor=actor, details=details,
        is_strict=is_strict, finished_at=datetime.now(UTC),
    )  # fmt: skip
    deployments.promote(session, rollout.endpoint_name, rollout.model_name, rollout.version, actor=actor)


def abort(  # noqa: PLR0913 - a transition, by name
    session: Session,
    rollout: Rollout,
    reason: str | None,
    *,
    actor: str | None = None,
    details: Mapping[str, Any] | None = None,
    is_strict: bool = True,
) -> None:
    """Any active state → aborted: the candidate is gone, and its queued jobs are the stable version's.

    The evaluation for which it waits is cancelled, if it was made for it.
    """
    _refuse_unless(rollout, "abort", ACTIVE_ROLLOUTS)
    candidates.remove(session, rollout.endpoint_name, rollout.id, Action.ABORT, actor=actor)
    _transit(
        session, rollout, "abort", ACTIVE_ROLLOUTS, RolloutState.ABORTED, reason=reason, actor=actor, details=details,
        is_strict=is_strict, finished_at=datetime.now(UTC),
    )  # fmt: skip
    trials.end_evaluation(session, rollout.id)


def save_pairs(session: Session, rollout: Rollout, figures: Mapping[str, Any], comparison: Mapping[str, Any]) -> bool:
    """Store what pairs have been read, unless the row has changed since it was read; return whether it did."""
    changed = session.execute(
        update(RolloutRow)
        .where(RolloutRow.id == rollout.id, RolloutRow.revision == rollout.revision)
        .values(figures={**rollout.figures, **figures}, comparison=dict(comparison), revision=RolloutRow.revision + 1)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(changed, CursorResult)  # noqa: S101 - narrows the type
    return bool(changed.rowcount)


def _step(  # noqa: PLR0913, PLR0917 - a transition
    session: Session,
    rollout: Rollout,
    step: int,
    states: Sequence[RolloutState],
    figures: Mapping[str, Any],
    reason: str | None = None,
) -> None:
    weight = rollout.steps[step]
    _refuse_unless(rollout, "step", states)
    _place(session, rollout, weight / 100, None)
    _transit(
        session, rollout, "step", states, RolloutState.RUNNING, reason=reason,
        details={"step": step + 1, "weight": weight / 100},
        step=step, step_started_at=datetime.now(UTC), figures={**rollout.figures, **figures},
    )  # fmt: skip


def _place(session: Session, rollout: Rollout, weight: float, actor: str | None) -> None:
    placement = Placement(
        trial_id=rollout.id,
        model_name=rollout.model_name,
        version=rollout.version,
        weight=weight,
        shadow_share=COMPARED_SHARE if weight else 0.0,
        salt=rollout.id,
        on_failure=rollout.on_failure,
    )
    candidates.place(session, rollout.endpoint_name, placement, Action.ROLLOUT_STEP, actor=actor)


def _transit(  # noqa: PLR0913 - a transition, by name
    session: Session,
    rollout: Rollout,
    event: str,
    states: Sequence[RolloutState],
    to: RolloutState,
    *,
    reason: str | None = None,
    actor: str | None = None,
    details: Mapping[str, Any] | None = None,
    is_strict: bool = True,
    **values: Any,
) -> None:
    """Change the state if it is one of `states`; if strict, only if nothing has changed since the row was read.

    Raises:
        RolloutRefused: it isn't; the caller must not commit.
    """
    statement = update(RolloutRow).where(RolloutRow.id == rollout.id, RolloutRow.state.in_(states))
    if is_strict:
        statement = statement.where(RolloutRow.revision == rollout.revision)
    values = {"state": to, "reason": reason, "revision": RolloutRow.revision + 1, **values}
    changed = session.execute(statement.values(**values).execution_options(synchronize_session=False))
    assert isinstance(changed, CursorResult)  # noqa: S101 - narrows the type
    if not changed.rowcount:
        raise RolloutRefused(rollout.endpoint_name, event, find(session, rollout.id).state)
    trials.record_event(session, rollout.id, event, actor=actor, reason=reason, details=details)


def _refuse_unless(rollout: Rollout, event: str, states: Sequence[RolloutState]) -> None:
    if rollout.state not in states:
        raise RolloutRefused(rollout.endpoint_name, event, rollout.state)


def _read() -> Any:
    return select(RolloutRow).options(defer(RolloutRow.comparison)).execution_options(populate_existing=True)


def _view(row: RolloutRow) -> Rollout:
    return Rollout(
        id=row.id,
        endpoint_name=row.endpoint_name,
        model_name=row.model_name,
        version=row.version,
        stable_version=row.stable_version,
        steps=list(row.steps),
        step=row.step,
        min_jobs=row.min_jobs,
        step_s=row.step_s,
        rules=Rules(**{name: row.rules.get(name) for name in Rules.__dataclass_fields__}),
        on_failure=row.on_failure,
        evaluation_id=row.evaluation_id,
        state=RolloutState(row.state),
        reason=row.reason,
        figures=dict(row.figures),
        actor=row.actor,
        created_at=row.created_at,
        step_started_at=row.step_started_at,
        finished_at=row.finished_at,
        revision=row.revision,
    )
