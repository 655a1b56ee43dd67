"""Deployments as they are desired: deploy, undeploy, find; what workers make of it stands elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from registry import names, versions
from registry.errors import DeploymentChanged, DeploymentNotFound, SettingsInvalid
from registry.inserting import insert_if_absent
from registry.intent import Intent
from registry.serving_settings import ServingSettings
from registry.signature import Signature
from registry.tables import DeploymentRow
from registry.versions import ModelVersion

__all__ = ["DesiredDeployment", "Intent", "deploy", "desired", "find", "resolve", "serving", "undeploy"]

#: An endpoint that is deployed again after one of these begins anew, with default settings.
_OVER = (Intent.DRAIN, Intent.REJECT)


@dataclass(frozen=True)
class DesiredDeployment:
    """What is desired of one endpoint, together with the version that it is bound to."""

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


def deploy(  # noqa: PLR0913 - what makes a deployment, each by name
    session: Session,
    model_name: str,
    *,
    version: str | None = None,
    endpoint_name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    worker_group: str | None = None,
    revision: int | None = None,
) -> DesiredDeployment:
    """Bind an endpoint to a version: by default the latest, and the endpoint `<model>-v<version>`.

    A serving or parked endpoint is bound anew: settings and the group change as far as they are named. With
    `revision`, only if the deployment still has this one; 0 is: only if there is none of this name yet.

    Raises:
        DeploymentChanged: it has another revision; nothing was changed.
        ModelNotFound, VersionNotFound: there is nothing to deploy.
        NameInvalid: the endpoint or the group can't have this name.
        SettingsInvalid: a setting is unknown, out of its bounds, or of no use beside the others.
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
    """Take an endpoint down; `backlog` says what becomes of its queued jobs: drain, reject or park.

    Undeploying again changes that policy. With `revision`, only if the deployment still has this one.

    Raises:
        DeploymentChanged: it has another revision; nothing was changed.
        DeploymentNotFound: it was never deployed.
        SettingsInvalid: there is no such policy.
    """
    if backlog == Intent.SERVE or backlog not in set(Intent):
        raise SettingsInvalid(f"There is no backlog policy {backlog!r}; there are drain, reject and park.")
    return _view(_revise(session, endpoint_name, revision, intent=Intent(backlog), updated_at=datetime.now(UTC)))


def find(session: Session, endpoint_name: str) -> DesiredDeployment | None:
    """Return the deployment of an endpoint, also an undeployed one, or None if there never was one."""
    try:
        return _view(_read(session, endpoint_name))
    except DeploymentNotFound:
        return None


def desired(session: Session, worker_group: str | None = None) -> list[DesiredDeployment]:
    """Return every deployment, also the undeployed ones, of one group or of all, by endpoint name."""
    query = select(DeploymentRow).order_by(DeploymentRow.endpoint_name)
    if worker_group is not None:
        query = query.where(DeploymentRow.worker_group == worker_group)
    return [_view(row) for row in session.scalars(query)]


def serving(session: Session, model_name: str, version: str | None = None) -> list[DesiredDeployment]:
    """Return the serving deployments of a model, or of one version of it."""
    if not names.could_exist(model_name):
        return []
    query = select(DeploymentRow).where(DeploymentRow.model_name == model_name, DeploymentRow.intent == Intent.SERVE)
    return [_view(row) for row in session.scalars(query) if version in (None, row.version)]


def resolve(session: Session, model_name: str, version: str | None = None) -> DesiredDeployment:
    """Return the serving deployment of a model: of `version`, or else of the latest deployed version.

    That is the highest number if all deployed versions are numbers, otherwise the one deployed last;
    of several endpoints of one version, the one deployed last.

    Raises:
        DeploymentNotFound: no endpoint serves it.
    """
    found = serving(session, model_name, version)
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
    """Change the row, which locks it until the caller commits, and return it as it is then."""
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
    over = row.intent in _OVER
    before = {} if over else row.settings
    row.model_name, row.version = bound.model_name, bound.version
    # Settings that a newer release wrote beside ours stay as they are; an older one may not know what is not set.
    after = {**before, **ServingSettings.stored(before).changed(settings).model_dump()}
    row.settings = {name: value for name, value in after.items() if value is not None}
    row.worker_group = worker_group or (names.DEFAULT_WORKER_GROUP if over else row.worker_group)
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
        signature=Signature.stored(bound.signature),
        input_example=bound.input_example,
        settings=ServingSettings.stored(row.settings),
        worker_group=row.worker_group,
        intent=row.intent,
        revision=row.revision,
        deployed_at=row.deployed_at,
        updated_at=row.updated_at,
    )
