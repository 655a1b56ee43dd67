"""Trials of an endpoint: the shadow or the rollout that judges a candidate there. At most one is active.

It has what changes of deployments need: a change that takes the candidate's place ends the trial, in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from registry.database.tables import EvaluationRow, RolloutEventRow, RolloutRow, ShadowRow
from registry.errors import TrialActive
from registry.history import State
from registry.trials import candidates


class RolloutState(StrEnum):
    """The state of a rollout."""

    #: An evaluation of the candidate runs; no worker serves it yet.
    EVALUATING = "evaluating"
    #: Workers load the candidate; it answers no job.
    LOADING = "loading"
    #: The candidate answers the jobs of the present step.
    RUNNING = "running"
    #: The candidate keeps its weight, and no step follows until it is resumed.
    PAUSED = "paused"
    #: The endpoint serves the candidate alone.
    PROMOTED = "promoted"
    #: The candidate is gone.
    ABORTED = "aborted"


class ShadowState(StrEnum):
    """The state of a shadow."""

    #: The candidate predicts jobs after their ends.
    RUNNING = "running"
    #: The candidate is gone.
    STOPPED = "stopped"
    #: No worker can load the candidate; it is gone.
    FAILED = "failed"


class EvaluationState(StrEnum):
    """The state of an evaluation."""

    #: No background process has begun it.
    WAITING = "waiting"
    #: Its jobs are chosen, and its hosts load their models.
    LOADING = "loading"
    #: Jobs are replayed and compared.
    REPLAYING = "replaying"
    #: It has a report.
    SUCCEEDED = "succeeded"
    #: It has no report; `error` says why.
    FAILED = "failed"
    #: A caller has cancelled it.
    CANCELLED = "cancelled"


OPEN_EVALUATIONS = (EvaluationState.WAITING, EvaluationState.LOADING, EvaluationState.REPLAYING)
#: Of the options of an evaluation: it was made for a rollout.
FOR_ROLLOUT = "for_rollout"
ACTIVE_ROLLOUTS = (RolloutState.EVALUATING, RolloutState.LOADING, RolloutState.RUNNING, RolloutState.PAUSED)


@dataclass(frozen=True)
class Trial:
    """A shadow or a rollout that is active."""

    #: `shadow` or `rollout`.
    kind: str
    id: str
    endpoint_name: str
    model_name: str
    version: str


def active(session: Session, endpoint_name: str) -> Trial | None:
    """Return the active trial of an endpoint."""
    for kind, row in (("rollout", _rollout(session, endpoint_name)), ("shadow", _shadow(session, endpoint_name))):
        if row is not None:
            return Trial(kind, *row)
    return None


def refuse_active(session: Session, endpoint_name: str) -> None:
    """Raise TrialActive if the endpoint has a trial. Its row must be locked, so that none begins meanwhile."""
    if (found := active(session, endpoint_name)) is not None:
        raise TrialActive(endpoint_name, found.kind, found.version)


def end_if_displaced(session: Session, endpoint_name: str, before: State, after: State, *, actor: str | None) -> bool:
    """End the trial of an endpoint whose deployment a caller has changed, unless the change leaves it its place.

    | change | rollout | shadow |
    |---|---|---|
    | settings, worker group, or the same version again | goes on | goes on |
    | a deploy of the candidate's version | promoted | stopped |
    | another version, by a deploy, a rollback or an alias | aborted | stopped |
    | an undeploy, also with `park` | aborted | stopped |

    Returns whether it ended one.
    """
    is_same = (before.model_name, before.version) == (after.model_name, after.version)
    if after.serves and is_same:
        return False
    trial = active(session, endpoint_name)
    if trial is None:
        return False
    state, reason = RolloutState.ABORTED, f"Version {after.version} of {after.model_name} was deployed in its place."
    if not after.serves:
        reason = "The endpoint was undeployed."
    elif (after.model_name, after.version) == (trial.model_name, trial.version):
        state, reason = RolloutState.PROMOTED, "A deploy of its version has promoted it."
    _end(session, trial, state, reason, actor)
    candidates.delete(session, endpoint_name)
    return True


def record_event(  # noqa: PLR0913 - the fields of an event, by name
    session: Session,
    rollout_id: str,
    event: str,
    *,
    actor: str | None = None,
    reason: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write what happened to a rollout."""
    session.add(
        RolloutEventRow(
            rollout_id=rollout_id,
            event=event,
            actor=actor,
            reason=reason,
            details=dict(details or {}),
            happened_at=datetime.now(UTC),
        )
    )
    session.flush()


def end_evaluation(session: Session, rollout_id: str) -> None:
    """Cancel the evaluation for which a rollout waits that ends now, if it was made for it."""
    query = select(EvaluationRow.id, EvaluationRow.options).join(
        RolloutRow, RolloutRow.evaluation_id == EvaluationRow.id
    )
    found = session.execute(query.where(RolloutRow.id == rollout_id)).first()
    if found is None or not found.options.get(FOR_ROLLOUT):
        return
    session.execute(
        update(EvaluationRow)
        .where(EvaluationRow.id == found.id, EvaluationRow.state.in_(OPEN_EVALUATIONS))
        .values(
            state=EvaluationState.CANCELLED,
            error="The rollout for which it was made has ended.",
            comparison=None,
            finished_at=datetime.now(UTC),
            revision=EvaluationRow.revision + 1,
        )
        .execution_options(synchronize_session=False)
    )


def _end(session: Session, trial: Trial, state: RolloutState, reason: str, actor: str | None) -> None:
    now = datetime.now(UTC)
    if trial.kind == "rollout":
        session.execute(
            update(RolloutRow)
            .where(RolloutRow.id == trial.id)
            .values(state=state, reason=reason, finished_at=now, revision=RolloutRow.revision + 1)
            .execution_options(synchronize_session=False)
        )
        record_event(session, trial.id, state, actor=actor, reason=reason)
        end_evaluation(session, trial.id)
        return
    session.execute(
        update(ShadowRow)
        .where(ShadowRow.id == trial.id)
        .values(state=ShadowState.STOPPED, reason=reason, stopped_at=now, revision=ShadowRow.revision + 1)
        .execution_options(synchronize_session=False)
    )


def _rollout(session: Session, endpoint_name: str) -> Any:
    query = select(RolloutRow.id, RolloutRow.endpoint_name, RolloutRow.model_name, RolloutRow.version)
    found = query.where(RolloutRow.endpoint_name == endpoint_name, RolloutRow.state.in_(ACTIVE_ROLLOUTS))
    return session.execute(found).first()


def _shadow(session: Session, endpoint_name: str) -> Any:
    query = select(ShadowRow.id, ShadowRow.endpoint_name, ShadowRow.model_name, ShadowRow.version)
    found = query.where(ShadowRow.endpoint_name == endpoint_name, ShadowRow.state == ShadowState.RUNNING)
    return session.execute(found).first()
