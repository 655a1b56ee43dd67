"""Desired deployments as they stand in the registry: which there are, which serve a model, which take jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import names
from registry.database.tables import CandidateRow, DeploymentRow
from registry.errors import DeploymentNotFound
from registry.intent import Intent
from registry.runtimes.models import libraries
from registry.serving.settings import ServingSettings
from registry.signatures.signature import Signature
from registry.trials import candidates
from registry.trials.candidates import Candidate

#: A database binds some thousand values in one statement.
_READ_AT_ONCE = 500
#: Undeployed endpoints: their settings are kept for the next deploy, and can't be changed before it.
UNDEPLOYED = (Intent.DRAIN, Intent.REJECT)


@dataclass(frozen=True)
class DesiredDeployment:
    """The desired state of one endpoint, with its model version."""

    endpoint_name: str
    model_name: str
    version: str
    runtime: str
    runtime_options: dict[str, Any]
    artifact_sha256: str
    artifact_size_bytes: int
    signature: Signature
    input_example: Any
    settings: ServingSettings
    worker_group: str
    intent: Intent
    #: Grows by 1 with every change.
    revision: int
    deployed_at: datetime
    updated_at: datetime
    #: A move of this alias binds the endpoint to the alias's version.
    followed_alias: str | None = None
    #: The version under judgement beside this one.
    candidate: Candidate | None = None
    #: It exists for an evaluation alone: its jobs have no webhooks, counters, journal or dead letters.
    is_replay: bool = False
    #: The versions of libraries that the model was made with, as far as they are known.
    built_with: Mapping[str, str] = field(default_factory=dict)
    #: The environment that the version runs in; None is the worker's own.
    environment_sha256: str | None = None

    def of_candidate(self) -> DesiredDeployment | None:
        """Return this deployment with the candidate in the place of its version; None without a candidate."""
        candidate = self.candidate
        if candidate is None:
            return None
        return replace(
            self,
            model_name=candidate.model_name,
            version=candidate.version,
            runtime=candidate.runtime,
            runtime_options=candidate.runtime_options,
            artifact_sha256=candidate.artifact_sha256,
            artifact_size_bytes=candidate.artifact_size_bytes,
            signature=candidate.signature,
            input_example=candidate.input_example,
            built_with={},
            environment_sha256=candidate.environment_sha256,
            candidate=None,
        )


def find(session: Session, endpoint_name: str) -> DesiredDeployment | None:
    """Return the deployment of an endpoint, even if it is undeployed; None if there never was one."""
    try:
        return view(read_row(session, endpoint_name))
    except DeploymentNotFound:
        return None


def desired(
    session: Session, worker_group: str | None = None, known: Collection[DesiredDeployment] = ()
) -> list[DesiredDeployment]:
    """Return all deployments, including undeployed ones, of one group or of all, by endpoint name.

    Those that are `known` from before are returned as they are if their rows have not changed since: to read a
    thousand rows takes much longer than to see that they are the same.
    """
    query = select(DeploymentRow).order_by(DeploymentRow.endpoint_name)
    if worker_group is not None:
        query = query.where(DeploymentRow.worker_group == worker_group)
    same = _unchanged(session, known) if known else {}
    if not same:
        return [view(row) for row in session.scalars(query)]
    names_now = session.scalars(query.with_only_columns(DeploymentRow.endpoint_name)).all()
    others = [name for name in names_now if name not in same]
    for start in range(0, len(others), _READ_AT_ONCE):
        some = DeploymentRow.endpoint_name.in_(others[start : start + _READ_AT_ONCE])
        same |= {row.endpoint_name: view(row) for row in session.scalars(query.where(some))}
    return [same[name] for name in names_now if name in same]


#: What is another one whenever a deployment has changed.
_STAMPED = ("endpoint_name", "worker_group", "revision", "updated_at", "followed_alias")
_stamp_of = attrgetter(*_STAMPED)


def _unchanged(session: Session, known: Collection[DesiredDeployment]) -> dict[str, DesiredDeployment]:
    """Return those deployments whose rows are as they were; a candidate has no revision of its own."""
    columns = [getattr(DeploymentRow, name) for name in _STAMPED]
    judged = set(session.scalars(select(CandidateRow.endpoint_name)))
    stamps = {stamp for stamp in map(tuple, session.execute(select(*columns))) if stamp[0] not in judged}
    alone = (each for each in known if each.candidate is None and not each.is_replay)
    return {each.endpoint_name: each for each in alone if _stamp_of(each) in stamps}


def taking_jobs(session: Session) -> list[str]:
    """Return the names of the endpoints that take jobs: those that serve, and parked ones, whose jobs wait."""
    query = select(DeploymentRow.endpoint_name).where(DeploymentRow.intent.not_in(UNDEPLOYED))
    return list(session.scalars(query))


def undeployed(session: Session) -> dict[str, str]:
    """Return the endpoints that take no jobs any more, with the group whose workers end those that wait there."""
    query = select(DeploymentRow.endpoint_name, DeploymentRow.worker_group)
    found = session.execute(query.where(DeploymentRow.intent.in_(UNDEPLOYED)))
    return {row.endpoint_name: row.worker_group for row in found}


def serving(
    session: Session, model_name: str, version: str | None = None, *, among: Collection[str] | None = None
) -> list[DesiredDeployment]:
    """Return the serving deployments of a model, or of one version of it, on all endpoints or those in `among`."""
    if not names.could_exist(model_name):
        return []
    query = select(DeploymentRow).where(DeploymentRow.model_name == model_name, DeploymentRow.intent == Intent.SERVE)
    found = [view(row) for row in session.scalars(query) if version in (None, row.version)]
    return [each for each in found if among is None or each.endpoint_name in among]


def resolve(
    session: Session, model_name: str, version: str | None = None, *, among: Collection[str] | None = None
) -> DesiredDeployment:
    """Return the serving deployment of a model: of `version`, or else of the latest deployed version.

    The latest version is the highest number if all deployed versions are numbers, otherwise the one deployed last. If
    several endpoints serve it, the one deployed last counts. With `among`, only these endpoints count.

    Raises:
        DeploymentNotFound: no such endpoint serves it.
    """
    found = serving(session, model_name, version, among=among)
    if not found:
        raise DeploymentNotFound(model_name if version is None else f"{model_name}, version {version}")
    found.sort(key=lambda each: each.deployed_at)
    latest = names.newest([each.version for each in found])
    return [each for each in found if each.version == latest][-1]


def find_row(session: Session, endpoint_name: str) -> DeploymentRow | None:
    """Return the row of an endpoint as the database has it now; None if there never was one."""
    query = select(DeploymentRow).where(DeploymentRow.endpoint_name == endpoint_name)
    query = query.execution_options(populate_existing=True)
    return session.scalars(query).one_or_none() if names.could_exist(endpoint_name) else None


def read_row(session: Session, endpoint_name: str) -> DeploymentRow:
    """Return the row of an endpoint. Raises DeploymentNotFound."""
    row = find_row(session, endpoint_name)
    if row is None:
        raise DeploymentNotFound(endpoint_name)
    return row


def view(row: DeploymentRow) -> DesiredDeployment:
    """Return the deployment of a row."""
    bound = row.bound_version
    return DesiredDeployment(
        endpoint_name=row.endpoint_name,
        model_name=row.model_name,
        version=row.version,
        runtime=bound.runtime,
        runtime_options=bound.runtime_options,
        artifact_sha256=bound.artifact_sha256,
        artifact_size_bytes=bound.artifact_size_bytes,
        signature=Signature.stored(bound.signature, bound.input_example),
        input_example=bound.input_example,
        settings=ServingSettings.stored(row.settings),
        worker_group=row.worker_group,
        intent=row.intent,
        revision=row.revision,
        deployed_at=row.deployed_at,
        updated_at=row.updated_at,
        followed_alias=row.followed_alias,
        candidate=candidates.view(row.candidate) if row.candidate else None,
        built_with=libraries.recorded(bound.details),
        environment_sha256=bound.environment_sha256,
    )
