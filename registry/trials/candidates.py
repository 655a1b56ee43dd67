"""The version under judgement beside the one that an endpoint serves; each change is one of its deployment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CursorResult, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.orm import Session

from registry import history, names, versions
from registry.database.inserting import insert_if_absent
from registry.database.tables import CandidateRow, DeploymentRow
from registry.errors import CandidateGone, DeploymentNotFound, TrialRefused
from registry.history import Action, State
from registry.intent import Intent
from registry.signatures.signature import Signature


@dataclass(frozen=True)
class Candidate:
    """A candidate of an endpoint, as a shadow or a rollout sets it."""

    #: The id of the shadow or the rollout.
    trial_id: str
    model_name: str
    version: str
    runtime: str
    runtime_options: dict[str, Any]
    artifact_sha256: str
    artifact_size_bytes: int
    signature: Signature
    input_example: Any
    #: The share of jobs that it answers (0 to 1): those with `hash(salt, key) < weight`.
    weight: float
    #: The share of the other version's jobs that it predicts as well, after their ends (0 to 1).
    shadow_share: float
    salt: str
    #: One of `rollout_plan.ON_FAILURE`.
    on_failure: str
    #: The environment that it runs in; None is the worker's own.
    environment_sha256: str | None = None


def view(row: CandidateRow) -> Candidate:
    """Return the candidate of a row."""
    bound = row.bound_version
    return Candidate(
        trial_id=row.trial_id,
        model_name=row.model_name,
        version=row.version,
        runtime=bound.runtime,
        runtime_options=bound.runtime_options,
        artifact_sha256=bound.artifact_sha256,
        artifact_size_bytes=bound.artifact_size_bytes,
        signature=Signature.stored(bound.signature, bound.input_example),
        input_example=bound.input_example,
        weight=row.weight,
        shadow_share=row.shadow_share,
        salt=row.salt,
        on_failure=row.on_failure,
        environment_sha256=bound.environment_sha256,
    )


@dataclass(frozen=True)
class Placement:
    """What a trial wants of its candidate; see `Candidate`."""

    trial_id: str
    model_name: str
    version: str
    weight: float
    shadow_share: float
    salt: str
    on_failure: str


def lock(session: Session, endpoint_name: str) -> DeploymentRow:
    """Return the row of a served endpoint, locked until the caller commits.

    Raises:
        DeploymentNotFound: it was never deployed.
        TrialRefused: it isn't served.
    """
    if names.could_exist(endpoint_name):
        # An update that changes nothing is the lock that both databases know.
        session.execute(
            update(DeploymentRow)
            .where(DeploymentRow.endpoint_name == endpoint_name)
            .values(revision=DeploymentRow.revision)
            .execution_options(synchronize_session=False)
        )
    row = _read(session, endpoint_name)
    if row.intent is not Intent.SERVE:
        raise TrialRefused(endpoint_name, "It isn't served: deploy it first.")
    return row


def place(session: Session, endpoint_name: str, wanted: Placement, action: Action, *, actor: str | None = None) -> None:
    """Set the candidate of a served endpoint, or its weights; this makes a revision of the deployment.

    Raises:
        DeploymentNotFound, VersionNotFound: there is no such endpoint or version.
        TrialRefused: the endpoint isn't served.
        CandidateGone: another trial has its candidate there.
    """
    versions.hold(session, wanted.model_name, wanted.version)
    before = State.of(lock(session, endpoint_name))
    values = {**vars(wanted), "changed_at": datetime.now(UTC)}
    if not insert_if_absent(session, CandidateRow, endpoint_name=endpoint_name, **values):
        changed = session.execute(
            update(CandidateRow)
            .where(CandidateRow.endpoint_name == endpoint_name, CandidateRow.trial_id == wanted.trial_id)
            .values(**values)
            .execution_options(synchronize_session=False)
        )
        assert isinstance(changed, CursorResult)  # noqa: S101 - narrows the type
        if not changed.rowcount:
            raise CandidateGone(endpoint_name)
    _revise(session, endpoint_name, before, action, actor)


def remove(session: Session, endpoint_name: str, trial_id: str, action: Action, *, actor: str | None = None) -> bool:
    """Remove the candidate of a trial, which makes a revision of the deployment; return whether there was one."""
    if (row := session.get(DeploymentRow, endpoint_name)) is None:
        return False
    session.execute(
        update(DeploymentRow)
        .where(DeploymentRow.endpoint_name == endpoint_name)
        .values(revision=DeploymentRow.revision)
        .execution_options(synchronize_session=False)
    )
    row = _read(session, endpoint_name)
    if row.candidate is None or row.candidate.trial_id != trial_id:
        return False
    before = State.of(row)
    delete(session, endpoint_name)
    _revise(session, endpoint_name, before, action, actor)
    return True


def delete(session: Session, endpoint_name: str) -> None:
    """Delete the row of a candidate, as a part of another change of its deployment."""
    session.execute(
        delete_from(CandidateRow)
        .where(CandidateRow.endpoint_name == endpoint_name)
        .execution_options(synchronize_session=False)
    )


def _revise(session: Session, endpoint_name: str, before: State, action: Action, actor: str | None) -> None:
    session.execute(
        update(DeploymentRow)
        .where(DeploymentRow.endpoint_name == endpoint_name)
        .values(revision=DeploymentRow.revision + 1, updated_at=datetime.now(UTC))
        .execution_options(synchronize_session=False)
    )
    history.record(session, _read(session, endpoint_name), action, before, actor=actor)


def _read(session: Session, endpoint_name: str) -> DeploymentRow:
    query = select(DeploymentRow).where(DeploymentRow.endpoint_name == endpoint_name)
    found = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if found is None:
        raise DeploymentNotFound(endpoint_name)
    return found
