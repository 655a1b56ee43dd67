"""Evaluations: replays of an endpoint's jobs on a candidate version. Each change is conditional and can refuse.

| transition | from | to | made by |
|---|---|---|---|
| `create` | | waiting | API |
| `hold` | waiting, loading, replaying; ended, not cleared | the same | background processes |
| `load` | waiting | loading | the holder |
| `replay` | loading | replaying | the holder |
| `save` | waiting, loading, replaying | the same | the holder |
| `succeed` | replaying | succeeded | the holder |
| `fail` | waiting, loading, replaying | failed | the holder |
| `put_off` | any, if it needs work | the same | the holder |
| `cancel` | waiting, loading, replaying | cancelled | API; the end of the rollout for which it was made |
| `clear` | ended | the same, with `cleared_at` | the holder |
| `delete` | ended and cleared | no row | API |

A background process holds an evaluation for a time that it renews with each change. If it ends, another one goes on
from what it has saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import CursorResult, and_, or_, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.orm import Session, defer

from registry import deployments, names, versions
from registry.database.tables import EvaluationRow, VersionRow
from registry.deployments import DesiredDeployment
from registry.errors import (
    DeploymentNotFound,
    EvaluationChanged,
    EvaluationNotFound,
    EvaluationRefused,
    EvaluationUnfinished,
)
from registry.intent import Intent
from registry.serving.settings import ServingSettings
from registry.signatures.signature import Signature
from registry.trials import trials
from registry.trials.trials import OPEN_EVALUATIONS, EvaluationState

#: A job of a replay that loses its hosts fails after so many attempts; none is kept as a dead letter.
_MAX_ATTEMPTS = 2
_RESULT_TTL_S = 86_400
_MAX_QUEUE_LENGTH = 1_000_000
#: The most evaluations of a listing.
_LISTED = 200
CANDIDATE, STABLE = "candidate", "stable"


_WITH_HOSTS = (EvaluationState.LOADING, EvaluationState.REPLAYING)


@dataclass(frozen=True)
class Evaluation:
    """An evaluation, as it stands."""

    evaluation_id: str
    endpoint_name: str
    model_name: str
    #: The candidate.
    version: str
    stable_version: str
    worker_group: str
    #: `since` and `until` (s since the epoch), or `dataset`: True.
    source: dict[str, Any]
    options: dict[str, Any]
    state: EvaluationState
    progress: dict[str, Any]
    report: dict[str, Any] | None
    verdict: str | None
    error: str | None
    actor: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cleared_at: datetime | None
    revision: int
    #: The state of the comparison; None in listings.
    comparison: dict[str, Any] | None

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in OPEN_EVALUATIONS

    @property
    def uses_dataset(self) -> bool:
        """Whether it replays rows of its caller and not jobs of the journal."""
        return bool(self.source.get("dataset"))

    @property
    def endpoint_names(self) -> list[str]:
        """The endpoints of its replays."""
        return [names.replay_endpoint_name(self.evaluation_id, arm) for arm in (CANDIDATE, STABLE)]


@dataclass(frozen=True)
class Hold:
    """The right of one background process to change an evaluation."""

    evaluation_id: str
    holder: str
    held_s: float
    #: If given, only as long as the evaluation has this revision.
    revision: int | None = None


def new_id() -> str:
    """Return an id for an evaluation."""
    return uuid4().hex[:16]


def create(  # noqa: PLR0913 - what makes an evaluation, by name
    session: Session,
    endpoint_name: str,
    version: str,
    *,
    source: Mapping[str, Any],
    options: Mapping[str, Any],
    evaluation_id: str | None = None,
    is_for_rollout: bool = False,
    actor: str | None = None,
) -> Evaluation:
    """Create an evaluation of a version of the model that an endpoint serves.

    One that is made for a rollout is cancelled if that ends while it waits for it.

    Raises:
        DeploymentNotFound: no such endpoint is deployed.
        ModelNotFound, VersionNotFound: the candidate doesn't exist.
        EvaluationRefused: the endpoint serves this version already.
    """
    deployment = deployments.find(session, endpoint_name)
    if deployment is None or deployment.intent is not Intent.SERVE:
        raise DeploymentNotFound(endpoint_name)
    versions.hold(session, deployment.model_name, version)
    if version == deployment.version:
        raise EvaluationRefused(
            f"{endpoint_name} serves version {version} already: name another version as the candidate."
        )
    row = EvaluationRow(
        id=evaluation_id or new_id(),
        endpoint_name=endpoint_name,
        model_name=deployment.model_name,
        version=version,
        stable_version=deployment.version,
        worker_group=deployment.worker_group,
        source=dict(source),
        options={
            **options,
            "settings": _replay_settings(deployment.settings),
            **({trials.FOR_ROLLOUT: True} if is_for_rollout else {}),
        },
        state=EvaluationState.WAITING,
        progress={},
        actor=actor,
        created_at=datetime.now(UTC),
        revision=1,
    )
    session.add(row)
    session.flush()
    return _view(row)


def find(session: Session, evaluation_id: str) -> Evaluation:
    """Return an evaluation. Raises EvaluationNotFound."""
    query = select(EvaluationRow).where(EvaluationRow.id == evaluation_id).execution_options(populate_existing=True)
    row = session.scalars(query).one_or_none() if names.could_exist(evaluation_id) else None
    if row is None:
        raise EvaluationNotFound(evaluation_id)
    return _view(row)


def list_all(session: Session, endpoint_name: str | None = None) -> list[Evaluation]:
    """Return the newest evaluations, of one endpoint or of all, newest first, without their reports."""
    query = select(EvaluationRow).options(defer(EvaluationRow.report), defer(EvaluationRow.comparison))
    if endpoint_name is not None:
        query = query.where(EvaluationRow.endpoint_name == endpoint_name)
    query = query.order_by(EvaluationRow.created_at.desc(), EvaluationRow.id).limit(_LISTED)
    return [_view(row, with_report=False) for row in session.scalars(query)]


def hold(session: Session, holder: str, held_s: float) -> Evaluation | None:
    """Take the oldest evaluation that needs work and that no other process holds; None if there is none."""
    now = datetime.now(UTC)
    needs_work = or_(EvaluationRow.state.in_(OPEN_EVALUATIONS), EvaluationRow.cleared_at.is_(None))
    free = or_(EvaluationRow.holder.is_(None), EvaluationRow.holder == holder, EvaluationRow.held_until < now)
    wanted = select(EvaluationRow.id).where(needs_work, free).order_by(EvaluationRow.created_at, EvaluationRow.id)
    for evaluation_id in session.scalars(wanted).all():
        values = {"holder": holder, "held_until": now + timedelta(seconds=held_s)}
        if _update(session, and_(EvaluationRow.id == evaluation_id, needs_work, free), values):
            return find(session, evaluation_id)
    return None


def load(session: Session, mine: Hold, progress: Mapping[str, Any]) -> Evaluation:
    """Begin to load: the workers start the hosts. Raises EvaluationChanged."""
    values = {"state": EvaluationState.LOADING, "progress": dict(progress), "started_at": datetime.now(UTC)}
    return _change(session, mine, "load", (EvaluationState.WAITING,), values)


def replay(session: Session, mine: Hold) -> Evaluation:
    """Begin to replay jobs: the hosts are ready. Raises EvaluationChanged."""
    return _change(session, mine, "replay", (EvaluationState.LOADING,), {"state": EvaluationState.REPLAYING})


def save(session: Session, mine: Hold, **values: Any) -> Evaluation:
    """Store `progress` and `comparison`, and hold the evaluation for longer. Raises EvaluationChanged."""
    return _change(session, mine, "go on", OPEN_EVALUATIONS, values)


def succeed(session: Session, mine: Hold, report: Mapping[str, Any], progress: Mapping[str, Any]) -> Evaluation:
    """End with a report. Raises EvaluationChanged."""
    values = {"state": EvaluationState.SUCCEEDED, "report": dict(report), "verdict": report.get("verdict")}
    values |= {"progress": dict(progress), "comparison": None, "finished_at": datetime.now(UTC)}
    return _change(session, mine, "succeed", (EvaluationState.REPLAYING,), values)


def fail(session: Session, mine: Hold, error: str) -> Evaluation:
    """End without a report. Raises EvaluationChanged."""
    values = {"state": EvaluationState.FAILED, "error": error, "comparison": None, "finished_at": datetime.now(UTC)}
    return _change(session, mine, "fail", OPEN_EVALUATIONS, values)


def clear(session: Session, mine: Hold) -> Evaluation:
    """Record that nothing is left of its hosts, queues and records. Raises EvaluationChanged."""
    ended = tuple(state for state in EvaluationState if state not in OPEN_EVALUATIONS)
    return _change(session, mine, "be cleared", ended, {"cleared_at": datetime.now(UTC)}, releases=True)


def release(session: Session, mine: Hold) -> None:
    """Let another process go on at once; nothing changes if another one holds it already."""
    where = and_(EvaluationRow.id == mine.evaluation_id, EvaluationRow.holder == mine.holder)
    _update(session, where, {"holder": None, "held_until": None})


def put_off(session: Session, mine: Hold, pause_s: float, progress: Mapping[str, Any] | None = None) -> None:
    """Leave an evaluation alone for a while, so that others come first; then any process may take it."""
    where = and_(EvaluationRow.id == mine.evaluation_id, EvaluationRow.holder == mine.holder)
    values = {"holder": "", "held_until": datetime.now(UTC) + timedelta(seconds=pause_s)}
    _update(session, where, values if progress is None else {**values, "progress": dict(progress)})


def cancel(session: Session, evaluation_id: str) -> Evaluation:
    """End an evaluation on behalf of a caller.

    Raises:
        EvaluationNotFound: there is none.
        EvaluationChanged: it has ended.
    """
    found = find(session, evaluation_id)
    values = {"state": EvaluationState.CANCELLED, "comparison": None, "finished_at": datetime.now(UTC)}
    if not _update(session, and_(EvaluationRow.id == evaluation_id, EvaluationRow.state.in_(OPEN_EVALUATIONS)), values):
        raise EvaluationChanged(evaluation_id, "be cancelled", found.state)
    return find(session, evaluation_id)


def delete(session: Session, evaluation_id: str) -> None:
    """Delete an evaluation that has ended, with its report.

    Raises:
        EvaluationNotFound: there is none.
        EvaluationUnfinished: it has not ended, or its hosts and queues are still being removed.
    """
    found = find(session, evaluation_id)
    gone = session.execute(
        delete_from(EvaluationRow).where(
            EvaluationRow.id == evaluation_id,
            EvaluationRow.state.not_in(OPEN_EVALUATIONS),
            EvaluationRow.cleared_at.is_not(None),
        )
    )
    assert isinstance(gone, CursorResult)  # noqa: S101 - narrows the type
    if not gone.rowcount:
        raise EvaluationUnfinished(evaluation_id, found.state)


def desired(session: Session, worker_group: str | None = None) -> list[DesiredDeployment]:
    """Return the deployments of replays: they serve while an evaluation runs, and reject what is left after its end."""
    runs = EvaluationRow.state.in_(_WITH_HOSTS)
    winds_down = and_(
        EvaluationRow.state.not_in(OPEN_EVALUATIONS),
        EvaluationRow.started_at.is_not(None),
        EvaluationRow.cleared_at.is_(None),
    )
    query = select(EvaluationRow).options(defer(EvaluationRow.report), defer(EvaluationRow.comparison))
    query = query.where(or_(runs, winds_down)).order_by(EvaluationRow.created_at)
    if worker_group is not None:
        query = query.where(EvaluationRow.worker_group == worker_group)
    return [each for row in session.scalars(query).all() for each in _deployments(session, row)]


def _deployments(session: Session, row: EvaluationRow) -> list[DesiredDeployment]:
    found = []
    for arm, version in ((CANDIDATE, row.version), (STABLE, row.stable_version)):
        bound = session.scalars(
            select(VersionRow).where(VersionRow.model_name == row.model_name, VersionRow.version == version)
        ).one_or_none()
        if bound is not None:
            found.append(_deployment(row, arm, bound))
    return found


def _deployment(row: EvaluationRow, arm: str, bound: VersionRow) -> DesiredDeployment:
    serves = row.state in OPEN_EVALUATIONS
    at = row.started_at or row.created_at
    return DesiredDeployment(
        endpoint_name=names.replay_endpoint_name(row.id, arm),
        model_name=row.model_name,
        version=bound.version,
        runtime=bound.runtime,
        runtime_options=bound.runtime_options,
        artifact_sha256=bound.artifact_sha256,
        artifact_size_bytes=bound.artifact_size_bytes,
        signature=Signature.stored(bound.signature, bound.input_example),
        input_example=bound.input_example,
        settings=ServingSettings.stored(row.options.get("settings") or {}),
        worker_group=row.worker_group,
        intent=Intent.SERVE if serves else Intent.REJECT,
        # That of the evaluation grows with each look at its jobs.
        revision=1 if serves else 2,
        deployed_at=at,
        updated_at=at if serves else row.finished_at or at,
        is_replay=True,
        environment_sha256=bound.environment_sha256,
    )


def _replay_settings(settings: ServingSettings) -> dict[str, Any]:
    """Return the settings of replays: those of the deployment, without what others see of its jobs."""
    own = {
        "hosts": 1,
        "max_attempts": _MAX_ATTEMPTS,
        "max_queue_length": _MAX_QUEUE_LENGTH,
        "result_ttl_s": _RESULT_TTL_S,
        "keep_failed_inputs": False,
        "events": "off",
    }
    dropped = {"callback_url", "expires_in_s", "max_queue_bytes", "rollout", "idle_s", "target_wait_s"}
    kept = settings.model_dump(exclude_none=True)
    kept = {name: value for name, value in kept.items() if name not in dropped and not name.startswith("journal")}
    return {**kept, **own}


def _change(  # noqa: PLR0913, PLR0917 - a transition
    session: Session,
    mine: Hold,
    transition: str,
    states: tuple[EvaluationState, ...],
    values: dict[str, Any],
    releases: bool = False,
) -> Evaluation:
    """Change an evaluation that the caller holds, in one of these states."""
    held = None if releases else datetime.now(UTC) + timedelta(seconds=mine.held_s)
    where = and_(
        EvaluationRow.id == mine.evaluation_id,
        EvaluationRow.holder == mine.holder,
        EvaluationRow.state.in_(states),
        *(() if mine.revision is None else (EvaluationRow.revision == mine.revision,)),
    )
    if not _update(session, where, {**values, "held_until": held, "holder": None if releases else mine.holder}):
        raise EvaluationChanged(mine.evaluation_id, transition, find(session, mine.evaluation_id).state)
    return find(session, mine.evaluation_id)


def _update(session: Session, where: Any, values: dict[str, Any]) -> bool:
    statement = update(EvaluationRow).where(where).values(revision=EvaluationRow.revision + 1, **values)
    done = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(done, CursorResult)  # noqa: S101 - narrows the type
    return bool(done.rowcount)


def _view(row: EvaluationRow, *, with_report: bool = True) -> Evaluation:
    return Evaluation(
        evaluation_id=row.id,
        endpoint_name=row.endpoint_name,
        model_name=row.model_name,
        version=row.version,
        stable_version=row.stable_version,
        worker_group=row.worker_group,
        source=row.source,
        options=row.options,
        state=EvaluationState(row.state),
        progress=row.progress,
        report=row.report if with_report else None,
        verdict=row.verdict,
        error=row.error,
        actor=row.actor,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        cleared_at=row.cleared_at,
        revision=row.revision,
        comparison=row.comparison if with_report else None,
    )
