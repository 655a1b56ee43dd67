"""Deletes artifacts and environments that no version needs, and what broken uploads have left in the artifact store.

Nothing is deleted that is younger than a grace period: a registration, a load or a backup may be under way that needs
it. Beyond that, a registration and a deletion of the same artifact exclude each other (`database.artifact_lock`): the
deletion looks once more whether a version needs it, and a registration stores it again if it is gone. So do those of
an environment.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from registry.artifacts.store import ArtifactStore, StoredFile
from registry.database import Database, artifact_lock
from registry.database.tables import EnvironmentRow, VersionRow
from registry.errors import PruneRefused

DEFAULT_GRACE_S = 3_600.0
#: Of unfinished uploads, whatever grace is asked for: a large one may last long.
_UPLOAD_GRACE_S = 3_600.0
#: A model's name and a version's.
VersionName = tuple[str, str]


class Reason(StrEnum):
    """Why a file may be deleted."""

    #: All versions with this artifact were deleted.
    DELETED_VERSION = "deleted_version"
    #: No version ever had it: a registration broke off after it was stored.
    NO_VERSION = "no_version"
    #: A part of an upload that broke off.
    UNFINISHED_UPLOAD = "unfinished_upload"


@dataclass(frozen=True)
class Unneeded:
    """A file of the store that nothing needs."""

    #: The artifact's checksum; None for an unfinished upload.
    sha256: str | None
    size_bytes: int
    reason: Reason
    #: The deleted versions that had it, e.g. "house 3".
    versions: list[str]


@dataclass
class Pruned:
    """What was deleted, or would be, and what stays."""

    deleted: list[Unneeded] = field(default_factory=list)
    #: Needed by nothing, but within the grace period.
    too_young: list[Unneeded] = field(default_factory=list)
    #: The digests of the environments.
    deleted_environments: list[str] = field(default_factory=list)
    needed_count: int = 0
    needed_bytes: int = 0
    #: Whether time ran out before everything was looked at; another call goes on.
    is_complete: bool = True


def prune(  # noqa: PLR0913 - what is to stay, by name
    database: Database,
    store: ArtifactStore,
    *,
    in_use: Collection[VersionName] = (),
    grace_s: float = DEFAULT_GRACE_S,
    dry_run: bool = False,
    limit_s: float = 50.0,
) -> Pruned:
    """Delete what nothing needs; with `dry_run`, only tell. `in_use` are deleted versions that workers still have.

    Raises:
        PruneRefused: the registry never had a version, so it is probably another store's.
        ArtifactStoreUnavailable: the store can't be reached or listed.
        RegistryUnavailable: the database can't be reached.
    """
    ends_at = time.monotonic() + limit_s
    with database.session() as session:
        if session.scalars(select(VersionRow.id).limit(1)).first() is None:
            raise PruneRefused
    found = Pruned()
    for each in store.list_uploads():
        if time.time() - each.modified_at < max(grace_s, _UPLOAD_GRACE_S):
            continue  # it goes on, for all that is known
        if not dry_run:
            store.delete_file(each)
        found.deleted.append(Unneeded(None, each.size_bytes, Reason.UNFINISHED_UPLOAD, []))
    found.deleted_environments = _prune_environments(database, in_use, grace_s, dry_run=dry_run)
    for each in store.list_artifacts():
        if time.monotonic() > ends_at:
            found.is_complete = False
            break
        _look_at(database, store, each, found, in_use=in_use, grace_s=grace_s, dry_run=dry_run)
    return found


def _prune_environments(
    database: Database, in_use: Collection[VersionName], grace_s: float, *, dry_run: bool
) -> list[str]:
    """Delete the environments that no version has; return their digests."""
    with database.session() as session:
        if not dry_run:
            artifact_lock.let_none_be_registered(session)
        stored = session.execute(select(EnvironmentRow.sha256, EnvironmentRow.created_at))
        unneeded_since = {row.sha256: row.created_at for row in stored}
        versions = session.execute(
            select(VersionRow.model_name, VersionRow.version, VersionRow.environment_sha256, VersionRow.deleted_at)
            .where(VersionRow.environment_sha256.is_not(None))
        )  # fmt: skip
        for row in versions:
            if row.deleted_at is None or (row.model_name, row.version) in in_use:
                unneeded_since.pop(row.environment_sha256, None)
            elif row.environment_sha256 in unneeded_since:
                latest = max(row.deleted_at, unneeded_since[row.environment_sha256])
                unneeded_since[row.environment_sha256] = latest
        now = datetime.now(UTC)
        gone = sorted(sha256 for sha256, at in unneeded_since.items() if (now - at).total_seconds() >= grace_s)
        if gone and not dry_run:
            session.execute(delete(EnvironmentRow).where(EnvironmentRow.sha256.in_(gone)))
            session.commit()
    return gone


def _look_at(  # noqa: PLR0913 - as `prune`
    database: Database,
    store: ArtifactStore,
    file: StoredFile,
    found: Pruned,
    *,
    in_use: Collection[VersionName],
    grace_s: float,
    dry_run: bool,
) -> None:
    with database.session() as session:
        unneeded, is_old = _judged(session, file, in_use, grace_s)
    if unneeded is None:
        found.needed_count += 1
        found.needed_bytes += file.size_bytes
    elif not is_old:
        found.too_young.append(unneeded)
    elif dry_run or _deleted(database, store, file, in_use, grace_s):
        found.deleted.append(unneeded)
    else:
        found.needed_count += 1  # registered again in the meantime
        found.needed_bytes += file.size_bytes


def _deleted(
    database: Database, store: ArtifactStore, file: StoredFile, in_use: Collection[VersionName], grace_s: float
) -> bool:
    """Delete an artifact unless it has become needed, or was stored again, meanwhile; return whether it is deleted."""
    assert file.sha256 is not None  # noqa: S101 - narrows the type
    with database.session() as session:
        artifact_lock.let_none_be_registered(session)
        now = store.artifact(file.sha256)
        if now is None:
            return True
        unneeded, is_old = _judged(session, now, in_use, grace_s)
        if unneeded is None or not is_old:
            return False
        store.delete(file.sha256)
        session.rollback()
    return True


def _judged(
    session: Session, file: StoredFile, in_use: Collection[VersionName], grace_s: float
) -> tuple[Unneeded | None, bool]:
    """Return what is unneeded about an artifact, None if it is needed, and whether the grace period is over."""
    rows = session.execute(
        select(VersionRow.model_name, VersionRow.version, VersionRow.deleted_at)
        .where(VersionRow.artifact_sha256 == file.sha256)
        .order_by(VersionRow.id)
    ).all()
    if any(row.deleted_at is None or (row.model_name, row.version) in in_use for row in rows):
        return None, False
    unneeded_since = max([file.modified_at, *(row.deleted_at.timestamp() for row in rows)])
    reason = Reason.DELETED_VERSION if rows else Reason.NO_VERSION
    named = [f"{row.model_name} {row.version}" for row in rows]
    return Unneeded(file.sha256, file.size_bytes, reason, named), time.time() - unneeded_since >= grace_s
