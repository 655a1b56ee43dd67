"""API keys: made, found by their text, listed, revoked. A key's text is shown once and stored nowhere.

Only its SHA-256 is kept. A slow hash is for passwords, which people choose and others can guess; a key is
256 random bits, which nobody can try through, and it is looked up in every request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from registry import names
from registry.errors import ApiKeyExists, ApiKeyInvalid, ApiKeyNotFound
from registry.roles import Role
from registry.tables import ApiKeyRow

__all__ = ["ApiKey", "Role", "any_usable", "create", "every", "find", "find_by_id", "note_use", "revoke"]

MAX_RATE_PER_S = 100_000.0
#: How exact `last_used_at` is.
USE_NOTED_EVERY = timedelta(minutes=1)
PREFIX = names.KEY_PREFIX
_TEXT = re.compile(PREFIX + r"[0-9a-f]{8}_[A-Za-z0-9_-]{43}")
_ID_BYTES = 4
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its text."""

    #: How its text begins.
    key_id: str
    #: Who uses it. Jobs belong to a name: a second key of the same name is the same client.
    name: str
    role: Role
    #: The only endpoints that it may use; None is all.
    endpoint_names: frozenset[str] | None
    #: The most requests a second; None is no limit.
    rate_limit_per_s: float | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    def document(self) -> dict[str, Any]:
        """Return it as plain values."""
        times = {name: getattr(self, name) for name in ("created_at", "last_used_at", "revoked_at")}
        return {
            "key_id": self.key_id,
            "name": self.name,
            "role": self.role.value,
            "endpoint_names": None if self.endpoint_names is None else sorted(self.endpoint_names),
            "rate_limit_per_s": self.rate_limit_per_s,
            **{name: None if moment is None else moment.isoformat() for name, moment in times.items()},
        }


def create(  # noqa: PLR0913 - what makes a key, each by name
    session: Session,
    name: str,
    role: Role,
    *,
    endpoint_names: Sequence[str] | None = None,
    rate_limit_per_s: float | None = None,
    second: bool = False,
) -> tuple[ApiKey, str]:
    """Make a key; return it and its text, which nobody can find out later.

    With `second`, a name that has a key gets another one, which is how a key is replaced without a pause.

    Raises:
        NameInvalid: a key, or an endpoint, can't have this name.
        ApiKeyExists: the name has a key, and `second` is not asked for.
        ApiKeyInvalid: the limits make no sense.
    """
    names.check_key_name(name)
    _check_limits(role, endpoint_names, rate_limit_per_s)
    if not second and session.scalars(select(ApiKeyRow.id).where(ApiKeyRow.name == name, _usable())).first():
        raise ApiKeyExists(name)
    key_id = PREFIX + secrets.token_hex(_ID_BYTES)
    text = f"{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    row = ApiKeyRow(
        id=key_id,
        name=name,
        role=role,
        secret_sha256=digest(text),
        endpoint_names=None if endpoint_names is None else sorted(set(endpoint_names)),
        rate_limit_per_s=rate_limit_per_s,
        created_at=datetime.now(UTC),
        last_used_at=None,
        revoked_at=None,
    )
    session.add(row)
    session.flush()
    return _key(row), text


def find(session: Session, text: str) -> ApiKey | None:
    """Return the key with this text, also a revoked one; None if there is none."""
    if not _TEXT.fullmatch(text):
        return None
    row = session.scalars(select(ApiKeyRow).where(ApiKeyRow.secret_sha256 == digest(text))).one_or_none()
    return None if row is None else _key(row)


def find_by_id(session: Session, key_id: str) -> ApiKey | None:
    """Return the key with this id, also a revoked one; None if there is none."""
    row = session.get(ApiKeyRow, key_id)
    return None if row is None else _key(row)


def every(session: Session, *, revoked: bool = False) -> list[ApiKey]:
    """Return the keys by name, with `revoked` also those that are not valid any more."""
    query = select(ApiKeyRow).order_by(ApiKeyRow.name, ApiKeyRow.created_at)
    return [_key(row) for row in session.scalars(query if revoked else query.where(_usable()))]


def any_usable(session: Session) -> bool:
    """Tell whether there is any key that is not revoked."""
    return session.scalars(select(ApiKeyRow.id).where(_usable()).limit(1)).first() is not None


def revoke(session: Session, name_or_id: str) -> list[ApiKey]:
    """Revoke one key by its id, or all keys of a name; return them.

    Raises:
        ApiKeyNotFound: there is no such key, or it is revoked already.
    """
    wanted = or_(ApiKeyRow.name == name_or_id, ApiKeyRow.id == name_or_id)
    rows = session.scalars(select(ApiKeyRow).where(wanted, _usable())).all()
    if not rows:
        raise ApiKeyNotFound(name_or_id)
    for row in rows:
        row.revoked_at = datetime.now(UTC)
    session.flush()
    return [_key(row) for row in rows]


def note_use(session: Session, key: ApiKey) -> bool:
    """Note that a key is used now, unless that was noted lately; tell whether anything was written."""
    now = datetime.now(UTC)
    if key.last_used_at is not None and now - key.last_used_at < USE_NOTED_EVERY:
        return False
    session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key.key_id).values(last_used_at=now))
    return True


def _check_limits(role: Role, endpoint_names: Sequence[str] | None, rate_limit_per_s: float | None) -> None:
    if endpoint_names is not None:
        if role is not Role.CLIENT:
            raise ApiKeyInvalid(f"Only a key of role client can be limited to endpoints; this one is for {role}.")
        if not endpoint_names:
            raise ApiKeyInvalid(
                "A key that is limited to no endpoint at all is of no use: name one, or don't limit it."
            )
        for each in endpoint_names:
            names.check_endpoint_name(each)
    if rate_limit_per_s is not None and not 0 < rate_limit_per_s <= MAX_RATE_PER_S:
        raise ApiKeyInvalid(f"A rate limit is over 0 and at most {MAX_RATE_PER_S:g} requests a second.")


def _usable() -> ColumnElement[bool]:
    return ApiKeyRow.revoked_at.is_(None)


def digest(text: str) -> str:
    """Return what is stored of a key's text, and tells keys apart."""
    return hashlib.sha256(text.encode()).hexdigest()


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        key_id=row.id,
        name=row.name,
        role=row.role,
        endpoint_names=None if row.endpoint_names is None else frozenset(row.endpoint_names),
        rate_limit_per_s=row.rate_limit_per_s,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
