from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from registry import migrate
from registry.access import api_keys
from registry.access.api_keys import Role
from registry.database import Database
from registry.database.tables import ApiKeyRow
from registry.errors import ApiKeyExists, ApiKeyInvalid, ApiKeyNotFound, NameInvalid


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    migrate.upgrade(database_url)
    with closing(Database(database_url)) as database, database.session() as session:
        yield session


def test_a_key_is_found_by_its_text_and_by_nothing_else(session: Session) -> None:
    key, text = api_keys.create(session, "shop", Role.CLIENT)
    assert api_keys.find(session, text) == key
    assert text.startswith(f"{key.key_id}_")
    for other in ("", text[:-1], text + "A", text[:-1] + ("A" if text[-1] != "A" else "B"), key.key_id, "qc_é"):
        assert api_keys.find(session, other) is None


def test_the_text_of_a_key_is_stored_nowhere(session: Session) -> None:
    key, text = api_keys.create(session, "shop", Role.CLIENT)
    row = session.scalars(select(ApiKeyRow)).one()
    stored = {column.name: getattr(row, column.key) for column in ApiKeyRow.__table__.columns}
    assert text.removeprefix(f"{key.key_id}_") not in str(stored)
    assert stored["secret_sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_two_keys_have_nothing_in_common(session: Session) -> None:
    (one, first), (other, second) = (api_keys.create(session, name, Role.CLIENT) for name in ("one", "other"))
    assert one.key_id != other.key_id
    assert first[12:] != second[12:]


def test_a_name_gets_a_second_key_only_if_it_is_asked_for(session: Session) -> None:
    api_keys.create(session, "shop", Role.CLIENT)
    with pytest.raises(ApiKeyExists, match="second"):
        api_keys.create(session, "shop", Role.CLIENT)
    key, _ = api_keys.create(session, "shop", Role.CLIENT, second=True)
    api_keys.revoke(session, key.key_id)
    [left] = api_keys.every(session)
    assert left.key_id != key.key_id


def test_revoking_by_name_takes_all_keys_of_the_name_and_by_id_one(session: Session) -> None:
    first, text = api_keys.create(session, "shop", Role.CLIENT)
    api_keys.create(session, "shop", Role.CLIENT, second=True)
    api_keys.create(session, "desk", Role.OPERATOR)
    assert len(api_keys.revoke(session, "shop")) == 2
    assert [key.name for key in api_keys.every(session)] == ["desk"]
    assert len(api_keys.every(session, revoked=True)) == 3
    found = api_keys.find(session, text)
    assert found is not None
    assert found.revoked_at is not None
    for gone in ("shop", first.key_id, "nobody"):
        with pytest.raises(ApiKeyNotFound):
            api_keys.revoke(session, gone)


def test_an_error_about_a_key_does_not_repeat_its_text(session: Session) -> None:
    _, text = api_keys.create(session, "shop", Role.CLIENT)
    with pytest.raises(ApiKeyNotFound) as refused:
        api_keys.revoke(session, text)
    assert text[12:] not in str(refused.value)
    with pytest.raises(NameInvalid) as refused_name:
        api_keys.create(session, text, Role.CLIENT)
    assert text[12:] not in str(refused_name.value)


def test_a_revoked_name_is_free_again_and_no_key_in_use_is_known_as_such(session: Session) -> None:
    assert not api_keys.any_usable(session)
    api_keys.create(session, "shop", Role.CLIENT)
    assert api_keys.any_usable(session)
    api_keys.revoke(session, "shop")
    assert not api_keys.any_usable(session)
    api_keys.create(session, "shop", Role.CLIENT)


def test_the_use_of_a_key_is_noted_at_most_once_a_minute(session: Session) -> None:
    key, text = api_keys.create(session, "shop", Role.CLIENT)
    assert key.last_used_at is None
    assert api_keys.record_use(session, key)
    used = api_keys.find(session, text)
    assert used is not None
    assert used.last_used_at is not None
    assert not api_keys.record_use(session, used)
    earlier = datetime.now(UTC) - timedelta(minutes=2)
    session.execute(update(ApiKeyRow).values(last_used_at=earlier))
    session.expire_all()
    stale = api_keys.find(session, text)
    assert stale is not None
    assert api_keys.record_use(session, stale)


@pytest.mark.parametrize(
    "limits",
    [
        {"role": Role.OPERATOR, "endpoint_names": ["adding"]},
        {"role": Role.CLIENT, "endpoint_names": []},
        {"role": Role.CLIENT, "rate_limit_per_s": 0},
        {"role": Role.CLIENT, "rate_limit_per_s": -1.0},
        {"role": Role.CLIENT, "rate_limit_per_s": float("nan")},
        {"role": Role.CLIENT, "rate_limit_per_s": float("inf")},
    ],
)
def test_limits_that_make_no_sense_are_refused(session: Session, limits: dict[str, Any]) -> None:
    with pytest.raises(ApiKeyInvalid):
        api_keys.create(session, "shop", **limits)


def test_limits_are_kept(session: Session) -> None:
    _, text = api_keys.create(session, "shop", Role.CLIENT, endpoint_names=["b", "a", "a"], rate_limit_per_s=2.5)
    key = api_keys.find(session, text)
    assert key is not None
    assert key.document()["endpoint_names"] == ["a", "b"]
    assert key.rate_limit_per_s == 2.5


@pytest.mark.parametrize("role", list(Role))
def test_each_role_includes_those_before_it(role: Role) -> None:
    assert [role.includes(each) for each in Role] == [True] * (list(Role).index(role) + 1) + [False] * (
        len(Role) - 1 - list(Role).index(role)
    )
