"""Aliases: movable names for versions, e.g. `champion`. A move is a compare-and-set, and each is kept.

An alias is resolved when a version is deployed, never for a job, so that an outcome names the version that made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import delete as delete_from
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from registry import names, versions
from registry.database.inserting import insert_if_absent
from registry.database.tables import AliasMoveRow, AliasRow, DeploymentRow
from registry.errors import AliasChanged, AliasInUse, AliasNotFound
from registry.intent import Intent

#: The number of moves of an alias that are kept.
KEPT_MOVES = 200
#: Stands for "whatever it names": no version can have this name.
ANY_VERSION: Final = "*"


@dataclass(frozen=True)
class Alias:
    """A movable name for a version of a model."""

    model_name: str
    alias: str
    version: str
    moved_at: datetime
    #: The endpoints that are bound again when it moves.
    followed_by: list[str]

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {**vars(self), "moved_at": self.moved_at.isoformat()}


@dataclass(frozen=True)
class Move:
    """One move of an alias; no version before its first one, and none after it was deleted."""

    from_version: str | None
    to_version: str | None
    #: The name of an API key; None is a caller without one.
    actor: str | None
    moved_at: datetime

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {"from": self.from_version, "to": self.to_version, "by": self.actor, "at": self.moved_at.isoformat()}


def move(  # noqa: PLR0913 - a move, by name
    session: Session,
    model_name: str,
    alias: str,
    version: str,
    *,
    expected: str | None = ANY_VERSION,
    actor: str | None = None,
) -> bool:
    """Let an alias name a version, if it names `expected` now (None: if it doesn't exist); return whether it moved.

    An alias that names the version already stays, whatever is expected: a repeated call does no harm.

    Raises:
        NameInvalid: an alias can't have this name.
        ModelNotFound, VersionNotFound: there is no such version.
        AliasChanged: it names another version than the expected one; nothing was changed.
    """
    names.check_alias_name(alias)
    # Held until the caller commits, so that the version is not deleted meanwhile.
    versions.hold(session, model_name, version)
    now = datetime.now(UTC)
    before = None
    if expected not in (None, ANY_VERSION) or not insert_if_absent(
        session, AliasRow, model_name=model_name, alias=alias, version=version, moved_at=now
    ):
        row = _locked(session, model_name, alias)
        before = None if row is None else row.version
        if before == version:
            return False
        if row is None or expected not in (before, ANY_VERSION):
            raise AliasChanged(model_name, alias, expected, before)
        row.version, row.moved_at = version, now
    _record(session, model_name, alias, Move(before, version, actor, now))
    return True


def hold(session: Session, model_name: str, alias: str, version: str) -> None:
    """Keep an alias from being moved or deleted until the caller commits, so that no move overlooks a new follower.

    Raises:
        ModelNotFound, AliasNotFound: it doesn't exist.
        AliasChanged: it no longer names this version.
    """
    row = _locked(session, model_name, alias)
    if row is None:
        raise _missing(session, model_name, alias)
    if row.version != version:
        raise AliasChanged(model_name, alias, version, row.version)


def delete(session: Session, model_name: str, alias: str, *, actor: str | None = None) -> None:
    """Delete an alias; its moves are kept.

    Raises:
        ModelNotFound, AliasNotFound: it doesn't exist.
        AliasInUse: an endpoint follows it.
    """
    row = _locked(session, model_name, alias)
    if row is None:
        raise _missing(session, model_name, alias)
    if followed_by := followers(session, model_name, alias):
        raise AliasInUse(model_name, alias, followed_by)
    # Undeployed ones must not follow another alias that gets this name later.
    session.execute(
        update(DeploymentRow)
        .where(DeploymentRow.model_name == model_name, DeploymentRow.followed_alias == alias)
        .values(followed_alias=None)
        .execution_options(synchronize_session=False)
    )
    session.delete(row)
    _record(session, model_name, alias, Move(row.version, None, actor, datetime.now(UTC)))


def find(session: Session, model_name: str, alias: str) -> Alias:
    """Return one alias. Raises ModelNotFound, AliasNotFound."""
    row = _read(session, model_name, alias)
    if row is None:
        raise _missing(session, model_name, alias)
    return _view(session, row)


def of_model(session: Session, model_name: str) -> list[Alias]:
    """Return the aliases of a model, by name. Raises ModelNotFound."""
    versions.get_model(session, model_name)
    query = select(AliasRow).where(AliasRow.model_name == model_name).order_by(AliasRow.alias)
    return [_view(session, row) for row in session.scalars(query)]


def moves(session: Session, model_name: str, alias: str) -> list[Move]:
    """Return the kept moves of an alias, newest first, also of one that was deleted.

    Raises:
        ModelNotFound, AliasNotFound: there never was one of this name.
    """
    query = select(AliasMoveRow).where(AliasMoveRow.model_name == model_name, AliasMoveRow.alias == alias)
    rows = session.scalars(query.order_by(AliasMoveRow.id.desc()).limit(KEPT_MOVES)).all()
    if not rows:
        raise _missing(session, model_name, alias)
    return [Move(row.from_version, row.to_version, row.actor, row.moved_at) for row in rows]


def followers(session: Session, model_name: str, alias: str) -> list[str]:
    """Return the names of the served and parked endpoints that follow an alias."""
    query = (
        select(DeploymentRow.endpoint_name)
        .where(DeploymentRow.model_name == model_name, DeploymentRow.followed_alias == alias)
        .where(DeploymentRow.intent.in_((Intent.SERVE, Intent.PARK)))
        .order_by(DeploymentRow.endpoint_name)
    )
    return list(session.scalars(query))


def naming(session: Session, model_names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return for each of these models that has aliases, which version each names."""
    query = select(AliasRow).where(AliasRow.model_name.in_(model_names)).order_by(AliasRow.model_name, AliasRow.alias)
    found: dict[str, dict[str, str]] = {}
    for row in session.scalars(query):
        found.setdefault(row.model_name, {})[row.alias] = row.version
    return found


def _record(session: Session, model_name: str, alias: str, made: Move) -> None:
    row = AliasMoveRow(model_name=model_name, alias=alias, **vars(made))
    session.add(row)
    session.flush()
    mine = (AliasMoveRow.model_name == model_name, AliasMoveRow.alias == alias)
    oldest = select(AliasMoveRow.id).where(*mine).order_by(AliasMoveRow.id.desc()).offset(KEPT_MOVES).limit(1)
    last = session.scalar(oldest)
    if last is not None:
        session.execute(delete_from(AliasMoveRow).where(*mine, AliasMoveRow.id <= last))


def _locked(session: Session, model_name: str, alias: str) -> AliasRow | None:
    """Return the row, locked until the caller commits."""
    if names.could_exist(alias) and names.could_exist(model_name):
        # An update that changes nothing is the lock that both databases know.
        session.execute(
            update(AliasRow)
            .where(AliasRow.model_name == model_name, AliasRow.alias == alias)
            .values(moved_at=AliasRow.moved_at)
            .execution_options(synchronize_session=False)
        )
    return _read(session, model_name, alias)


def _read(session: Session, model_name: str, alias: str) -> AliasRow | None:
    if not (names.could_exist(alias) and names.could_exist(model_name)):
        return None
    query = select(AliasRow).where(AliasRow.model_name == model_name, AliasRow.alias == alias)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def _missing(session: Session, model_name: str, alias: str) -> AliasNotFound:
    versions.get_model(session, model_name)
    return AliasNotFound(model_name, alias)


def _view(session: Session, row: AliasRow) -> Alias:
    return Alias(row.model_name, row.alias, row.version, row.moved_at, followers(session, row.model_name, row.alias))
