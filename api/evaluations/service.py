"""Creates, shows, cancels and deletes evaluations; a background process works on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from api.auth import identity
from api.deployments import service as deployment_service
from api.evaluations.schemas import DatasetRow, NewEvaluation
from api.journal.schemas import moment
from api.process.services import Services
from registry import deployments
from registry.errors import EvaluationRefused
from registry.judging import evaluations
from registry.judging.evaluations import Evaluation
from registry.trials.trials import EvaluationState
from workers.judging import sample
from workers.judging.comparison.pairs import ComparisonOptions
from workers.judging.sample import SampledJob
from workers.platform.redis.client import translated_errors

View = dict[str, Any]
_DEFAULT_SINCE = "24h"


@dataclass(frozen=True)
class Draft:
    """An evaluation that can begin: what it needs is there."""

    evaluation_id: str
    wanted: NewEvaluation
    source: dict[str, Any]


def create(services: Services, wanted: NewEvaluation) -> View:
    """Create an evaluation. Raises as `draft`."""
    ready = draft(services, wanted)
    with services.database.session() as session:
        found = add(session, ready)
        session.commit()
    return view(found)


def draft(services: Services, wanted: NewEvaluation) -> Draft:
    """Return an evaluation that `add` creates. No transaction is open while the journal is read or a dataset is kept.

    Raises:
        DeploymentNotFound: no such endpoint is deployed.
        VersionNotFound: the candidate doesn't exist.
        EvaluationRefused: the endpoint serves this version, or the journal has no jobs of the present one.
        ArtifactStoreUnavailable, QueueUnavailable: the journal can't be read, or the dataset can't be kept.
    """
    source = _dataset(wanted) if wanted.dataset is not None else _time(wanted)
    made = Draft(evaluations.new_id(), wanted, source)
    # No dataset is kept for an evaluation that is refused.
    with services.database.session() as session:
        found = add(session, made)
        session.rollback()
    if wanted.dataset is None:
        _refuse_excluded(services, found)
        _refuse_without_jobs(found)
    else:
        sample.write(found.evaluation_id, _lines(wanted.dataset[: wanted.max_jobs]))
    return made


def _refuse_excluded(services: Services, found: Evaluation) -> None:
    with services.database.session() as session:
        deployment = deployments.find(session, found.endpoint_name)
    if deployment is not None and deployment.settings.journal_exclude:
        raise EvaluationRefused(
            f"The journal of {found.endpoint_name!r} has hashes in the place of fields (journal_exclude), which are no "
            "inputs to replay. Evaluate it on a dataset."
        )


def add(session: Session, ready: Draft, *, is_for_rollout: bool = False) -> Evaluation:
    """Create an evaluation; one for a rollout ends with it.

    Raises:
        DeploymentNotFound, VersionNotFound, EvaluationRefused: as for `draft`.
    """
    return evaluations.create(
        session,
        ready.wanted.endpoint_name,
        ready.wanted.version,
        source=ready.source,
        options=_options(ready.wanted),
        evaluation_id=ready.evaluation_id,
        is_for_rollout=is_for_rollout,
        actor=identity.current().name,
    )


def show(services: Services, evaluation_id: str) -> View:
    """Return an evaluation with its report. Raises EvaluationNotFound."""
    with services.database.session() as session:
        found = evaluations.find(session, evaluation_id)
    return {**view(found), "report": found.report}


def list_all(services: Services, endpoint_name: str | None = None) -> list[View]:
    """Return the newest evaluations, newest first."""
    with services.database.session() as session:
        return [view(each) for each in evaluations.list_all(session, endpoint_name)]


def remove(services: Services, evaluation_id: str) -> View | None:
    """Cancel an evaluation that has not ended, and return it; delete one that has ended, and return None.

    Raises:
        EvaluationNotFound: there is none.
        EvaluationUnfinished: its hosts and queues are still being removed.
        DeploymentUnconfirmed: the registry has the change, but Redis can't be reached.
    """
    with services.database.session() as session:
        found = evaluations.find(session, evaluation_id)
        if not found.is_open:
            evaluations.delete(session, evaluation_id)
            session.commit()
            return None
        found = evaluations.cancel(session, evaluation_id)
        session.commit()
    deployment_service.announce(services, [found.endpoint_name])
    return view(found)


def view(found: Evaluation) -> View:
    """Return an evaluation as a document, without its report."""
    source, progress = found.source, found.progress
    return {
        "evaluation_id": found.evaluation_id,
        "endpoint_name": found.endpoint_name,
        "model_name": found.model_name,
        "version": found.version,
        "stable_version": found.stable_version,
        "state": found.state.value,
        "verdict": found.verdict,
        "error": found.error,
        "progress": {
            "jobs": progress.get("jobs"),
            "replayed": progress.get("replayed", 0),
            "control": progress.get("control", 0),
            "errors": progress.get("errors") or {"candidate": 0, "stable": 0},
            "stopped": progress.get("stopped"),
            "last_error": progress.get("last_error") if found.is_open else None,
            "eta_s": _eta_s(found),
        },
        "since": _iso(source.get("since")),
        "until": _iso(source.get("until")),
        "max_jobs": found.options["max_jobs"],
        "control": found.options["control"],
        "margin": found.options["comparison"].get("margin", ComparisonOptions().margin),
        "created_by": found.actor,
        "created_at": found.created_at.isoformat(),
        "started_at": None if found.started_at is None else found.started_at.isoformat(),
        "finished_at": None if found.finished_at is None else found.finished_at.isoformat(),
    }


def _eta_s(found: Evaluation) -> float | None:
    """Return in how many seconds the rest will be replayed, at the pace until now; None if that is unknown."""
    began_at, replayed = found.progress.get("replay_started_at"), found.progress.get("replayed", 0)
    if found.state is not EvaluationState.REPLAYING or not replayed or began_at is None:
        return None
    took_s = max(0.0, time.time() - float(began_at))
    return round(took_s / int(replayed) * (int(found.progress["jobs"]) - int(replayed)), 1)


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _options(wanted: NewEvaluation) -> dict[str, Any]:
    comparison = {
        "margin": wanted.margin,
        "relative_tolerance": wanted.tolerance,
        "absolute_tolerance": wanted.absolute_tolerance,
        "probability_tolerance": wanted.probability_tolerance,
    }
    return {
        "max_jobs": wanted.max_jobs,
        "control": wanted.control,
        "max_s": wanted.max_s,
        "comparison": {name: value for name, value in comparison.items() if value is not None},
    }


def _time(wanted: NewEvaluation) -> dict[str, Any]:
    until = time.time() if wanted.until is None else moment(wanted.until)
    return {"since": moment(wanted.since or _DEFAULT_SINCE), "until": until}


def _dataset(wanted: NewEvaluation) -> dict[str, Any]:
    return {"dataset": True, "jobs": min(len(wanted.dataset or ()), wanted.max_jobs)}


def _lines(rows: list[DatasetRow]) -> Iterator[bytes]:
    for number, row in enumerate(rows, 1):
        job = SampledJob(f"row-{number}", row.rows, row.inputs is not None, truths=row.known_truths)
        yield job.encoded()


def _refuse_without_jobs(found: Evaluation) -> None:
    name, version, source = found.endpoint_name, found.stable_version, found.source
    with translated_errors():
        if sample.has_jobs(name, found.model_name, version, since=source["since"], until=source["until"]):
            return
    raise EvaluationRefused(
        f"The journal has no jobs of {name} in this time that version {version} answered. Set `journal` of the "
        "deployment and wait for jobs, choose another time, or give a dataset."
    )
