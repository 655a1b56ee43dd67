"""Changes of desired deployments: deploy, configure, follow, roll back, undeploy; each is written into the history."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CursorResult, update
from sqlalchemy.orm import Session

from registry import history, names, versions
from registry.catalog import aliases
from registry.database.inserting import insert_if_absent
from registry.database.tables import DeploymentRow
from registry.deployments.desired import UNDEPLOYED, DesiredDeployment, find_row, read_row, view
from registry.errors import (
    AliasNotFound,
    DeploymentChanged,
    DeploymentNotFound,
    DeploymentUndeployed,
    ModelNotFound,
    RollbackRefused,
    SettingsInvalid,
    VersionNotFound,
)
from registry.history import Action, State
from registry.intent import Intent
from registry.serving.settings import ServingSettings
from registry.trials import candidates, trials
from registry.versions import ModelVersion


def deploy(  # noqa: PLR0913 - the fields of a deployment, by name
    session: Session,
    model_name: str,
    *,
    version: str | None = None,
    alias: str | None = None,
    follow: bool = False,
    endpoint_name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    worker_group: str | None = None,
    revision: int | None = None,
    reset: bool = False,
    actor: str | None = None,
) -> DesiredDeployment:
    """Bind an endpoint to a version: by default the endpoint `<model>-v<version>` to the latest version.

    With `alias`, to the version that it names now; with `follow` as well, each move of the alias binds the endpoint
    again, or begins a rollout if the settings have one, until a version or another alias is given, or the endpoint is
    rolled back.

    An endpoint that exists, also an undeployed one, keeps what is not given: its version, unless it changes to another
    model or the version was deleted; its settings and its group, unless `reset` sets them to their defaults. With
    `revision`, it is changed only if it still has this revision; 0 means only if there is no deployment of this name.
    The history names `actor`.

    Raises:
        DeploymentChanged: it has another revision; nothing was changed.
        ModelNotFound, VersionNotFound, AliasNotFound: there is no such version.
        AliasChanged: the alias to follow was moved at the same time.
        NameInvalid: the endpoint or the group can't have this name.
        SettingsInvalid: a setting is unknown, out of bounds, or has no effect beside the others.
    """
    if alias is not None or follow:
        version = _named_version(session, model_name, version, alias, endpoint_name, follow=follow)
    bound = _chosen_version(session, model_name, version, endpoint_name)
    name = _endpoint_name(endpoint_name, model_name, bound.version)
    if worker_group is not None:
        names.check_group_name(worker_group)
    checked = ServingSettings.parse(settings or {})
    versions.hold(session, model_name, bound.version)
    if follow and alias is not None:
        aliases.hold(session, model_name, alias, bound.version)
    wanted: dict[str, Any] = {
        "settings": {setting: value for setting, value in checked.row().items() if value is not None},
        "worker_group": worker_group or names.DEFAULT_WORKER_GROUP,
        "followed_alias": alias if follow else None,
    }
    if _insert(session, name, bound, **wanted):
        _refuse_unless(name, revision, 0)
        checked.complete()
        row = read_row(session, name)
        history.record(session, row, Action.DEPLOY, None, actor=actor)
        return view(row)
    now = datetime.now(UTC)
    row = _revise(session, name, revision, updated_at=now, deployed_at=now)
    before = State.of(row)
    if version is None and endpoint_name is not None and (row.model_name, row.version) != (model_name, bound.version):
        # It changed since its version was chosen, or changes to another model.
        bound = _chosen_version(session, model_name, None, endpoint_name)
        versions.hold(session, model_name, bound.version)
    if version is not None or row.model_name != bound.model_name:
        row.followed_alias = wanted["followed_alias"]
    row.model_name, row.version, row.intent = bound.model_name, bound.version, Intent.SERVE
    _configure(row, settings or {}, worker_group, reset=reset)
    session.flush()
    is_swap = before.serves and (before.model_name, before.version) != (row.model_name, row.version)
    return _recorded(session, row, Action.SWAP if is_swap else Action.DEPLOY, before, actor)


def configure(  # noqa: PLR0913 - the fields of a deployment, by name
    session: Session,
    endpoint_name: str,
    *,
    settings: Mapping[str, Any] | None = None,
    worker_group: str | None = None,
    revision: int | None = None,
    reset: bool = False,
    actor: str | None = None,
) -> DesiredDeployment:
    """Change settings or the group of a serving or parked endpoint, and nothing else; None is a setting's default.

    With `revision`, only if the deployment still has this revision; with `reset`, what is not given gets its default.

    Raises:
        DeploymentChanged: it has another revision; nothing was changed.
        DeploymentNotFound: it was never deployed.
        DeploymentUndeployed: it is neither served nor parked.
        NameInvalid: the group can't have this name.
        SettingsInvalid: a setting is unknown, out of bounds, or has no effect beside the others.
    """
    if worker_group is not None:
        names.check_group_name(worker_group)
    named = ServingSettings.with_defaults(settings or {})
    ServingSettings.parse(named)
    if read_row(session, endpoint_name).intent in UNDEPLOYED:
        raise DeploymentUndeployed(endpoint_name)
    row = _revise(session, endpoint_name, revision, updated_at=datetime.now(UTC))
    if row.intent in UNDEPLOYED:
        raise DeploymentUndeployed(endpoint_name)
    before = State.of(row)
    _configure(row, named, worker_group, reset=reset)
    session.flush()
    history.record(session, row, Action.CONFIGURE, before, actor=actor)
    return view(read_row(session, endpoint_name))


def follow(
    session: Session, model_name: str, alias: str, *, but: Collection[str] = (), actor: str | None = None
) -> list[DesiredDeployment]:
    """Bind the endpoints that follow an alias, but those in `but`, to its version; return those that changed.

    A parked endpoint stays parked.

    Raises:
        AliasNotFound: there is no such alias.
        DeploymentChanged: one of them was changed meanwhile.
    """
    target = aliases.find(session, model_name, alias)
    changed = []
    for endpoint_name in target.followed_by:
        row = read_row(session, endpoint_name)
        if row.version == target.version or endpoint_name in but:
            continue
        now = datetime.now(UTC)
        row = _revise(session, endpoint_name, row.revision, updated_at=now, deployed_at=now)
        before = State.of(row)
        row.version = target.version
        session.flush()
        action = Action.SWAP if before.serves else Action.DEPLOY
        changed.append(_recorded(session, row, action, before, actor))
    return changed


def rollback(
    session: Session,
    endpoint_name: str,
    *,
    to_revision: int | None = None,
    revision: int | None = None,
    actor: str | None = None,
) -> DesiredDeployment:
    """Serve again what an earlier revision was: its version, settings and group.

    By default it is the latest that was served, has not failed, and differs from the present one.

    Raises:
        DeploymentChanged: it has another revision than `revision`, or was changed meanwhile; nothing was changed.
        DeploymentNotFound: it was never deployed.
        RevisionNotFound: the history doesn't have `to_revision`.
        RollbackRefused: there is no such revision, it was not served, or its version was deleted.
    """
    found = history.changes(session, endpoint_name)
    _refuse_unless(endpoint_name, revision, found[0].revision)
    target, state = rollback_target(session, endpoint_name, found, to_revision)
    versions.hold(session, state.model_name, state.version)
    now = datetime.now(UTC)
    row = _revise(session, endpoint_name, found[0].revision, updated_at=now, deployed_at=now)
    before = State.of(row)
    row.model_name, row.version, row.worker_group = state.model_name, state.version, state.worker_group
    row.settings, row.intent, row.followed_alias = dict(state.settings), Intent.SERVE, state.followed_alias
    session.flush()
    return _recorded(session, row, Action.ROLLBACK, before, actor, rolled_back_to=target)


def _still_followed(session: Session, state: State) -> str | None:
    """Return the alias that a state follows, if that names the same version now; None otherwise."""
    alias = state.followed_alias
    if alias is None:
        return None
    try:
        return alias if aliases.find(session, state.model_name, alias).version == state.version else None
    except AliasNotFound:
        return None


def rollback_target(
    session: Session, endpoint_name: str, found: list[history.Change], to_revision: int | None
) -> tuple[int, State]:
    """Return the revision to which a rollback goes, and the state that it brings.

    Raises:
        RevisionNotFound, RollbackRefused: as for `rollback`.
    """
    target = history.previous(found) if to_revision is None else to_revision
    if target is None:
        reason = "No earlier revision that was served differs from the present one."
        raise RollbackRefused(endpoint_name, reason)
    state = history.state_at(found, endpoint_name, target)
    if not state.serves:
        reason = f"At revision {target} it was undeployed: choose one that was served, or use undeploy."
        raise RollbackRefused(endpoint_name, reason)
    try:
        versions.get_version(session, state.model_name, state.version)
    except (ModelNotFound, VersionNotFound) as error:
        reason = (
            f"At revision {target} it served version {state.version} of {state.model_name}, which was deleted. "
            "Choose another revision, or deploy another version."
        )
        raise RollbackRefused(endpoint_name, reason) from error
    followed = _still_followed(session, state)
    return target, replace(state.without_candidate(), followed_alias=followed)


def undeploy(
    session: Session,
    endpoint_name: str,
    backlog: str = Intent.DRAIN,
    *,
    revision: int | None = None,
    actor: str | None = None,
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
    row = _revise(session, endpoint_name, revision, updated_at=datetime.now(UTC))
    before = State.of(row)
    row.intent = Intent(backlog)
    session.flush()
    return _recorded(session, row, Action.UNDEPLOY, before, actor)


def promote(
    session: Session, endpoint_name: str, model_name: str, version: str, *, actor: str | None = None
) -> DesiredDeployment:
    """Bind a served endpoint to its candidate, which is no candidate then; its rollout is over already.

    It goes on following an alias that names this version, and stops following another one.

    Raises:
        DeploymentNotFound, VersionNotFound: there is no such endpoint or version.
        TrialRefused: it isn't served.
    """
    versions.hold(session, model_name, version)
    before = State.of(candidates.lock(session, endpoint_name))
    now = datetime.now(UTC)
    row = _revise(session, endpoint_name, None, updated_at=now, deployed_at=now)
    row.model_name, row.version = model_name, version
    row.followed_alias = _still_followed(session, State.of(row))
    session.flush()
    candidates.delete(session, endpoint_name)
    return _recorded(session, row, Action.PROMOTE, before, actor)


def _recorded(  # noqa: PLR0913 - what a change is
    session: Session,
    row: DeploymentRow,
    action: Action,
    before: State,
    actor: str | None,
    *,
    rolled_back_to: int | None = None,
) -> DesiredDeployment:
    """End the trial that a change displaces, and write the change into the history; return the deployment."""
    trials.end_if_displaced(session, row.endpoint_name, before, State.of(row), actor=actor)
    row = read_row(session, row.endpoint_name)
    history.record(session, row, action, before, actor=actor, rolled_back_to=rolled_back_to)
    return view(row)


def _endpoint_name(given: str | None, model_name: str, version: str) -> str:
    return names.default_endpoint_name(model_name, version) if given is None else names.check_endpoint_name(given)


def _insert(session: Session, endpoint_name: str, bound: ModelVersion, **wanted: Any) -> bool:
    """Insert the row of a new endpoint; return False if there is one of this name."""
    now = datetime.now(UTC)
    return insert_if_absent(
        session,
        DeploymentRow,
        endpoint_name=endpoint_name,
        model_name=bound.model_name,
        version=bound.version,
        intent=Intent.SERVE,
        revision=1,
        deployed_at=now,
        updated_at=now,
        **wanted,
    )


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
    row = read_row(session, endpoint_name)
    if not done.rowcount:
        _refuse_unless(endpoint_name, expected, row.revision)
    return row


def _refuse_unless(endpoint_name: str, expected: int | None, revision: int) -> None:
    if expected not in (None, revision):
        raise DeploymentChanged(endpoint_name, expected or 0, revision)


def _chosen_version(session: Session, model_name: str, version: str | None, endpoint_name: str | None) -> ModelVersion:
    """Return the version to bind: the given one, or that of the endpoint, or the latest."""
    if version is not None:
        return versions.get_version(session, model_name, version)
    row = find_row(session, endpoint_name) if endpoint_name is not None else None
    if row is not None and row.model_name == model_name:
        try:
            return versions.get_version(session, model_name, _version_of(session, row))
        except VersionNotFound:
            pass  # deleted after an undeploy
    return versions.latest_version(session, model_name)


def _named_version(  # noqa: PLR0913 - what a deploy may name
    session: Session,
    model_name: str,
    version: str | None,
    alias: str | None,
    endpoint_name: str | None,
    *,
    follow: bool,
) -> str:
    if alias is None:
        raise SettingsInvalid("To follow an alias, name an alias.")
    if version is not None:
        raise SettingsInvalid("Name either a version or an alias.")
    if follow and endpoint_name is None:
        raise SettingsInvalid("To follow an alias, name the endpoint: its default name has a version in it.")
    return aliases.find(session, model_name, alias).version


def _version_of(session: Session, row: DeploymentRow) -> str:
    """Return the version of an endpoint, or that of the alias that it follows if that may have moved meanwhile.

    Moves reach an endpoint that is served or parked at once. If it still has another version than the alias, that one
    is on trial, or its rollout was aborted, also if the setting is gone since.
    """
    if row.followed_alias is None or row.intent not in UNDEPLOYED or row.settings.get("rollout") is not None:
        return row.version
    try:
        return aliases.find(session, row.model_name, row.followed_alias).version
    except AliasNotFound:
        return row.version  # deleted after an undeploy


def _configure(row: DeploymentRow, settings: Mapping[str, Any], worker_group: str | None, *, reset: bool) -> None:
    """Change the given settings and group; with `reset`, the others become the defaults."""
    previous = {} if reset else row.settings
    # Keep settings that only a newer release knows. Omit unset settings, which an older release may not know.
    merged = {**previous, **ServingSettings.stored(previous).changed(settings).row()}
    row.settings = {name: value for name, value in merged.items() if value is not None}
    row.worker_group = worker_group or (names.DEFAULT_WORKER_GROUP if reset else row.worker_group)
