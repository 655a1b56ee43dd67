"""API keys: create, find, list and revoke them. A key's text is shown once and never stored.

Only its SHA-256 is stored. Slow hashes are for passwords, which can be guessed; a key has 256 random bits, and is
looked up in every request.
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
from registry.database.tables import ApiKeyRow
from registry.errors import ApiKeyExists, ApiKeyInvalid, ApiKeyNotFound
from registry.roles import Role

__all__ = ["ApiKey", "Role", "any_usable", "create", "every", "find", "find_by_id", "record_use", "revoke"]

MAX_RATE_PER_S = 100_000.0
#: How exact `last_used_at` is.
USE_PRECISION = timedelta(minutes=1)
PREFIX = names.KEY_PREFIX
_TEXT = re.compile(PREFIX + r"[0-9a-f]{8}_[A-Za-z0-9_-]{43}")
_ID_BYTES = 4
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its text."""

    #: The prefix of its text.
    key_id: str
    #: The client. Jobs belong to a name: a second key of the same name is the same client.
    name: str
    role: Role
    #: The endpoints that it may use; None is all.
    endpoint_names: frozenset[str] | None
    #: The most requests per second; None is no limit.
    rate_limit_per_s: float | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        times = {name: getattr(self, name) for name in ("created_at", "last_used_at", "revoked_at")}
        return {
            "key_id": self.key_id,
            "name": self.name,
            "role": self.role.value,
            "endpoint_names": None if self.endpoint_names is None else sorted(self.endpoint_names),
            "rate_limit_per_s": self.rate_limit_per_s,
            **{name: None if moment is None else moment.isoformat() for name, moment in times.items()},
        }


def create(  # noqa: PLR0913 - the fields of a key, by name
    session: Session,
    name: str,
    role: Role,
    *,
    endpoint_names: Sequence[str] | None = None,
    rate_limit_per_s: float | None = None,
    second: bool = False,
) -> tuple[ApiKey, str]:
    """Create a key; return it and its text, which can't be read later.

    With `second`, a name may have another key, so that keys can be replaced without downtime.

    Raises:
        NameInvalid: a key, or an endpoint, can't have this name.
        ApiKeyExists: the name has a key, and `second` is not set.
        ApiKeyInvalid: the limits are invalid.
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
    """Return the key with this text, even if it is revoked; None if there is none."""
    if not _TEXT.fullmatch(text):
        return None
    row = session.scalars(select(ApiKeyRow).where(ApiKeyRow.secret_sha256 == digest(text))).one_or_none()
    return None if row is None else _key(row)


def find_by_id(session: Session, key_id: str) -> ApiKey | None:
    """Return the key with this id, even if it is revoked; None if there is none."""
    row = session.get(ApiKeyRow, key_id)
    return None if row is None else _key(row)


def every(session: Session, *, revoked: bool = False) -> list[ApiKey]:
    """Return the keys by name, with `revoked` including revoked ones."""
    query = select(ApiKeyRow).order_by(ApiKeyRow.name, ApiKeyRow.created_at)
    return [_key(row) for row in session.scalars(query if revoked else query.where(_usable()))]


def any_usable(session: Session) -> bool:
    """Whether there is a key that is not revoked."""
    return session.scalars(select(ApiKeyRow.id).where(_usable()).limit(1)).first() is not None


def revoke(session: Session, name_or_id: str) -> list[ApiKey]:
    """Revoke one key by its id, or all keys of a name; return them.

    Raises:
        ApiKeyNotFound: there is no such key, or it is already revoked.
    """
    wanted = or_(ApiKeyRow.name == name_or_id, ApiKeyRow.id == name_or_id)
    rows = session.scalars(select(ApiKeyRow).where(wanted, _usable())).all()
    if not rows:
        raise ApiKeyNotFound(name_or_id)
    for row in rows:
        row.revoked_at = datetime.now(UTC)
    session.flush()
    return [_key(row) for row in rows]


def record_use(session: Session, key: ApiKey) -> bool:
    """Record the use of a key, unless a recent use is recorded; return whether anything was written."""
    now = datetime.now(UTC)
    if key.last_used_at is not None and now - key.last_used_at < USE_PRECISION:
        return False
    session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key.key_id).values(last_used_at=now))
    return True


def _check_limits(role: Role, endpoint_names: Sequence[str] | None, rate_limit_per_s: float | None) -> None:
    if endpoint_names is not None:
        if role is not Role.CLIENT:
            raise ApiKeyInvalid(f"Only keys of role client can be limited to endpoints; this one has role {role}.")
        if not endpoint_names:
            raise ApiKeyInvalid("The list of endpoints is empty: name at least one endpoint, or omit the limit.")
        for each in endpoint_names:
            names.check_endpoint_name(each)
    if rate_limit_per_s is not None and not 0 < rate_limit_per_s <= MAX_RATE_PER_S:
        raise ApiKeyInvalid(f"A rate limit must be over 0 and at most {MAX_RATE_PER_S:g} requests per second.")


def _usable() -> ColumnElement[bool]:
    return ApiKeyRow.revoked_at.is_(None)


def digest(text: str) -> str:
    """Return the hash of a key's text, which is stored."""
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
