"""Desired deployments: deploy, undeploy, find. The observed state is not stored here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from registry import names, versions
from registry.database.inserting import insert_if_absent
from registry.database.tables import DeploymentRow
from registry.errors import DeploymentChanged, DeploymentNotFound, SettingsInvalid
from registry.intent import Intent
from registry.serving_settings import ServingSettings
from registry.signatures.signature import Signature
from registry.versions import ModelVersion

__all__ = ["DesiredDeployment", "Intent", "deploy", "desired", "find", "resolve", "serving", "undeploy"]

#: A deploy after one of these starts with default settings.
_UNDEPLOYED = (Intent.DRAIN, Intent.REJECT)


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
    #: Grows by 1 with every deploy and undeploy.
    revision: int
    deployed_at: datetime
    updated_at: datetime


def deploy(  # noqa: PLR0913 - the fields of a deployment, by name
    session: Session,
    model_name: str,
    *,
    version: str | None = None,
    endpoint_name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    worker_group: str | None = None,
    revision: int | None = None,
) -> DesiredDeployment:
    """Bind an endpoint to a version: by default the endpoint `<model>-v<version>` to the latest version.

    A serving or parked endpoint is bound again, and keeps the settings and the group that are not given. With
    `revision`, only if the deployment still has this revision; 0 means only if there is no deployment of this name.

    Raises:
        DeploymentChanged: it has another revision; nothing was changed.
        ModelNotFound, VersionNotFound: there is no such version.
        NameInvalid: the endpoint or the group can't have this name.
        SettingsInvalid: a setting is unknown, out of bounds, or has no effect beside the others.
    """
    chosen = version if version is not None else versions.latest_version(session, model_name).version
    bound = versions.get_version(session, model_name, chosen)
    name = _endpoint_name(endpoint_name, model_name, bound.version)
    if worker_group is not None:
        names.check_group_name(worker_group)
    checked = ServingSettings.parse(settings or {})
    now = datetime.now(UTC)
    versions.hold(session, model_name, bound.version)
    is_new = insert_if_absent(
        session,
        DeploymentRow,
        endpoint_name=name,
        model_name=model_name,
        version=bound.version,
        settings=checked.model_dump(exclude_none=True),
        worker_group=worker_group or names.DEFAULT_WORKER_GROUP,
        intent=Intent.SERVE,
        revision=1,
        deployed_at=now,
        updated_at=now,
    )
    if is_new:
        _refuse_unless(name, revision, 0)
        checked.complete()
    else:
        row = _revise(session, name, revision, updated_at=now, deployed_at=now)
        _rebind(row, bound, settings or {}, worker_group)
        session.flush()
    return _view(_read(session, name))


def undeploy(
    session: Session, endpoint_name: str, backlog: str = Intent.DRAIN, *, revision: int | None = None
) -> DesiredDeployment:
    """Undeploy an endpoint; `backlog` is the policy for its queued jobs: drain, reject or park.

    Undeploying again changes the policy. With `revision`, only if the deployment still has this revision.

    Raises:
        DeploymentChanged: it has another revision; nothing was changed.
        DeploymentNotFound: it was never deployed.
        SettingsInvalid: there is no such policy.
    """
    if backlog == Intent.SERVE or backlog not in set(Intent):
        raise SettingsInvalid(f"There is no backlog policy {backlog!r}; there are drain, reject and park.")
    return _view(_revise(session, endpoint_name, revision, intent=Intent(backlog), updated_at=datetime.now(UTC)))


def find(session: Session, endpoint_name: str) -> DesiredDeployment | None:
    """Return the deployment of an endpoint, even if it is undeployed; None if there never was one."""
    try:
        return _view(_read(session, endpoint_name))
    except DeploymentNotFound:
        return None


def desired(session: Session, worker_group: str | None = None) -> list[DesiredDeployment]:
    """Return all deployments, including undeployed ones, of one group or of all, by endpoint name."""
    query = select(DeploymentRow).order_by(DeploymentRow.endpoint_name)
    if worker_group is not None:
        query = query.where(DeploymentRow.worker_group == worker_group)
    return [_view(row) for row in session.scalars(query)]


def serving(
    session: Session, model_name: str, version: str | None = None, *, among: Collection[str] | None = None
) -> list[DesiredDeployment]:
    """Return the serving deployments of a model, or of one version of it, on all endpoints or those in `among`."""
    if not names.could_exist(model_name):
        return []
    query = select(DeploymentRow).where(DeploymentRow.model_name == model_name, DeploymentRow.intent == Intent.SERVE)
    found = [_view(row) for row in session.scalars(query) if version in (None, row.version)]
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


def _endpoint_name(given: str | None, model_name: str, version: str) -> str:
    return names.default_endpoint_name(model_name, version) if given is None else names.check_endpoint_name(given)


def _read(session: Session, endpoint_name: str) -> DeploymentRow:
    query = select(DeploymentRow).where(DeploymentRow.endpoint_name == endpoint_name)
    query = query.execution_options(populate_existing=True)
    row = session.scalars(query).one_or_none() if names.could_exist(endpoint_name) else None
    if row is None:
        raise DeploymentNotFound(endpoint_name)
    return row


def _revise(session: Session, endpoint_name: str, expected: int | None, **changes: Any) -> DeploymentRow:
    """Update the row, which locks it until the caller commits; return the updated row."""
    if not names.could_exist(endpoint_name):
        raise DeploymentNotFound(endpoint_name)
    statement = update(DeploymentRow).where(DeploymentRow.endpoint_name == endpoint_name)
    if expected is not None:
        statement = statement.where(DeploymentRow.revision == expected)
    statement = statement.values(revision=DeploymentRow.revision + 1, **changes)
    done = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(done, CursorResult)  # noqa: S101 - narrows the type
    row = _read(session, endpoint_name)
    if not done.rowcount:
        _refuse_unless(endpoint_name, expected, row.revision)
    return row


def _refuse_unless(endpoint_name: str, expected: int | None, revision: int) -> None:
    if expected not in (None, revision):
        raise DeploymentChanged(endpoint_name, expected or 0, revision)


def _rebind(row: DeploymentRow, bound: ModelVersion, settings: Mapping[str, Any], worker_group: str | None) -> None:
    is_new = row.intent in _UNDEPLOYED
    previous = {} if is_new else row.settings
    row.model_name, row.version = bound.model_name, bound.version
    # Keep settings that only a newer release knows. Omit unset settings, which an older release may not know.
    merged = {**previous, **ServingSettings.stored(previous).changed(settings).model_dump()}
    row.settings = {name: value for name, value in merged.items() if value is not None}
    row.worker_group = worker_group or (names.DEFAULT_WORKER_GROUP if is_new else row.worker_group)
    row.intent = Intent.SERVE


def _view(row: DeploymentRow) -> DesiredDeployment:
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
    )
