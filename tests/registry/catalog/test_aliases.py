"""Aliases: compare-and-set, their history, and the endpoints that follow them."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from registry import deployments, history, versions
from registry.catalog import aliases
from registry.deployments import Intent
from registry.errors import (
    AliasChanged,
    AliasInUse,
    AliasNotFound,
    ModelNotFound,
    NameInvalid,
    SettingsInvalid,
    VersionAliased,
    VersionNotFound,
)
from tests.registry.conftest import Registrar


@pytest.fixture(autouse=True)
def _three_versions(add: Registrar) -> None:
    for _ in range(3):
        add("m")


def following(session: Session, alias: str = "champion", version: str = "1") -> None:
    """An endpoint that serves what the alias names."""
    aliases.move(session, "m", alias, version)
    deployments.deploy(session, "m", alias=alias, follow=True, endpoint_name="e")


def test_an_alias_moves_only_from_the_expected_version(session: Session) -> None:
    assert aliases.move(session, "m", "champion", "1", expected=None, actor="ada")
    assert aliases.move(session, "m", "champion", "2", expected="1", actor="bob")
    with pytest.raises(AliasChanged, match="names version 2; it was expected to name version 1"):
        aliases.move(session, "m", "champion", "3", expected="1")
    with pytest.raises(AliasChanged, match="names version 2; it was expected not to exist"):
        aliases.move(session, "m", "champion", "3", expected=None)
    with pytest.raises(AliasChanged, match="does not exist; it was expected to name version 1"):
        aliases.move(session, "m", "challenger", "3", expected="1")
    assert not aliases.move(session, "m", "champion", "2", expected="1"), "a repeated call does no harm"
    assert aliases.find(session, "m", "champion").version == "2"
    assert [(each.from_version, each.to_version, each.actor) for each in aliases.moves(session, "m", "champion")] == [
        ("1", "2", "bob"),
        (None, "1", "ada"),
    ]


def test_a_move_to_where_it_is_is_no_move(session: Session) -> None:
    assert aliases.move(session, "m", "champion", "1")
    assert not aliases.move(session, "m", "champion", "1")
    assert len(aliases.moves(session, "m", "champion")) == 1


@pytest.mark.parametrize("name", ["latest", "Latest", "7", "v7", "V007", "", "a b", "-x", "x" * 65])
def test_names_that_could_be_versions_are_reserved(session: Session, name: str) -> None:
    with pytest.raises(NameInvalid):
        aliases.move(session, "m", name, "1")


def test_what_does_not_exist_is_named(session: Session) -> None:
    with pytest.raises(VersionNotFound):
        aliases.move(session, "m", "champion", "9")
    with pytest.raises(ModelNotFound):
        aliases.move(session, "n", "champion", "1")
    with pytest.raises(ModelNotFound):
        aliases.find(session, "n", "champion")
    for look in (aliases.find, aliases.delete, aliases.moves):
        with pytest.raises(AliasNotFound):
            look(session, "m", "champion")
    with pytest.raises(AliasNotFound):
        deployments.deploy(session, "m", alias="champion")


def test_a_deleted_alias_keeps_its_moves(session: Session) -> None:
    aliases.move(session, "m", "champion", "1")
    aliases.delete(session, "m", "champion", actor="ada")
    last = aliases.moves(session, "m", "champion")[0]
    assert (last.from_version, last.to_version, last.actor) == ("1", None, "ada")
    assert aliases.of_model(session, "m") == []


def test_moves_are_bounded(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliases, "KEPT_MOVES", 3)
    for number in range(6):
        aliases.move(session, "m", "champion", str(1 + number % 2))
    aliases.move(session, "m", "other", "3")
    assert [each.to_version for each in aliases.moves(session, "m", "champion")] == ["2", "1", "2"]
    assert len(aliases.moves(session, "m", "other")) == 1


def test_a_named_version_is_not_deleted(session: Session) -> None:
    aliases.move(session, "m", "champion", "1")
    with pytest.raises(VersionAliased, match="named by champion"):
        versions.delete_version(session, "m", "1")
    aliases.delete(session, "m", "champion")
    versions.delete_version(session, "m", "1")


def test_a_deploy_resolves_the_alias_once(session: Session) -> None:
    aliases.move(session, "m", "champion", "2")
    assert deployments.deploy(session, "m", alias="champion").endpoint_name == "m-v2"
    aliases.move(session, "m", "champion", "3")
    assert deployments.follow(session, "m", "champion") == []
    found = deployments.find(session, "m-v2")
    assert found is not None
    assert (found.version, found.followed_alias) == ("2", None)


def test_a_moved_alias_is_a_swap_of_what_follows_it(session: Session) -> None:
    following(session)
    aliases.move(session, "m", "champion", "3")
    [changed] = deployments.follow(session, "m", "champion", actor="ada")
    assert (changed.endpoint_name, changed.version, changed.revision) == ("e", "3", 2)
    assert deployments.follow(session, "m", "champion") == []
    last = history.changes(session, "e")[0]
    assert (last.action, last.actor, last.differences) == ("swap", "ada", {"version": {"from": "1", "to": "3"}})


def test_a_parked_endpoint_follows_and_stays_parked(session: Session) -> None:
    following(session)
    deployments.undeploy(session, "e", "park")
    aliases.move(session, "m", "champion", "2")
    [changed] = deployments.follow(session, "m", "champion")
    assert (changed.version, changed.intent) == ("2", Intent.PARK)


def test_an_undeployed_endpoint_follows_again_with_its_next_deploy(session: Session) -> None:
    following(session)
    deployments.undeploy(session, "e")
    aliases.move(session, "m", "champion", "2")
    assert deployments.follow(session, "m", "champion") == []
    again = deployments.deploy(session, "m", endpoint_name="e")
    assert (again.version, again.followed_alias) == ("2", "champion")


def test_a_version_or_a_rollback_ends_following(session: Session) -> None:
    following(session)
    deployments.configure(session, "e", settings={"hosts": 2})
    assert aliases.followers(session, "m", "champion") == ["e"]
    deployments.deploy(session, "m", version="2", endpoint_name="e")
    assert aliases.followers(session, "m", "champion") == []
    deployments.deploy(session, "m", alias="champion", follow=True, endpoint_name="e")
    aliases.move(session, "m", "champion", "3")
    deployments.follow(session, "m", "champion")
    deployments.rollback(session, "e")
    found = deployments.find(session, "e")
    assert found is not None
    assert (found.version, found.followed_alias) == ("1", None)


def test_a_rollback_of_settings_alone_goes_on_following(session: Session) -> None:
    following(session)
    deployments.configure(session, "e", settings={"hosts": 2})
    back = deployments.rollback(session, "e")
    assert (back.settings.hosts, back.version, back.followed_alias) == (1, "1", "champion")


def test_a_followed_alias_is_not_deleted(session: Session) -> None:
    following(session)
    with pytest.raises(AliasInUse, match="followed by e"):
        aliases.delete(session, "m", "champion")
    deployments.undeploy(session, "e")
    aliases.delete(session, "m", "champion")
    # The next deploy keeps the version, and follows nothing, not even another alias of that name.
    aliases.move(session, "m", "champion", "2")
    again = deployments.deploy(session, "m", endpoint_name="e")
    assert (again.version, again.followed_alias) == ("1", None)


def test_to_follow_needs_an_alias_and_a_name(session: Session) -> None:
    aliases.move(session, "m", "champion", "1")
    with pytest.raises(SettingsInvalid, match="name an alias"):
        deployments.deploy(session, "m", follow=True, endpoint_name="e")
    with pytest.raises(SettingsInvalid, match="name the endpoint"):
        deployments.deploy(session, "m", alias="champion", follow=True)
    with pytest.raises(SettingsInvalid, match="either a version or an alias"):
        deployments.deploy(session, "m", alias="champion", version="1")
