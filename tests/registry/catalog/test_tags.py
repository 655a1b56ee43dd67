"""Tags of models and versions, and searches."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from registry import versions
from registry.catalog import aliases, search, tags
from registry.errors import ModelNotFound, NameInvalid, TagsInvalid, VersionNotFound
from tests.registry.conftest import Registrar


@pytest.fixture(autouse=True)
def _models(add: Registrar) -> None:
    for name in ("Churn-model", "fraud", "fraud"):
        add(name)


def found(session: Session, text: str | None = None, **wanted: str) -> list[str]:
    return [each["name"] for each in search.models(session, text, wanted)]


def test_tags_are_set_replaced_and_removed(session: Session) -> None:
    assert tags.change(session, "fraud", {"owner": "risk", "tier": "1"}) == {"owner": "risk", "tier": "1"}
    assert tags.change(session, "fraud", {"owner": "ops", "tier": None, "never": None}) == {"owner": "ops"}
    assert tags.change(session, "fraud", {"data": "2026"}, version="2") == {"data": "2026"}
    shown = search.model(session, "fraud")
    assert shown["tags"] == {"owner": "ops"}
    assert [each["tags"] for each in shown["versions"]] == [{}, {"data": "2026"}]
    assert search.version(session, "fraud", "2")["tags"] == {"data": "2026"}


def test_wrong_tags_are_refused_as_a_whole(session: Session) -> None:
    with pytest.raises(NameInvalid):
        tags.change(session, "fraud", {"good": "1", "not good": "2"})
    with pytest.raises(TagsInvalid, match="longer than 1000"):
        tags.change(session, "fraud", {"note": "x" * 1001})
    with pytest.raises(TagsInvalid, match="more than 100"):
        tags.change(session, "fraud", {f"t{number}": "" for number in range(101)})
    session.rollback()
    with pytest.raises(ModelNotFound):
        tags.change(session, "fraud2", {"a": "b"})


def test_a_version_must_exist(session: Session) -> None:
    with pytest.raises(VersionNotFound):
        tags.change(session, "fraud", {"a": "b"}, version="9")


def test_models_are_found_by_name_and_by_tags_of_theirs_or_of_a_version(session: Session) -> None:
    tags.change(session, "fraud", {"owner": "risk"})
    tags.change(session, "fraud", {"data": "2026"}, version="2")
    tags.change(session, "Churn-model", {"owner": "growth"})
    assert found(session) == ["Churn-model", "fraud"]
    assert found(session, "CHURN") == ["Churn-model"]
    assert found(session, owner="risk") == ["fraud"]
    assert found(session, owner="risk", data="2026") == ["fraud"]
    assert found(session, owner="risk", data="2025") == []
    assert found(session, "churn", owner="risk") == []
    versions.delete_version(session, "fraud", "2")
    assert found(session, data="2026") == []


def test_models_and_versions_show_their_aliases(session: Session) -> None:
    aliases.move(session, "fraud", "champion", "1")
    aliases.move(session, "fraud", "challenger", "2")
    aliases.move(session, "fraud", "newest", "2")
    named = {"challenger": "2", "champion": "1", "newest": "2"}
    assert {each["name"]: each["aliases"] for each in search.models(session)} == {"Churn-model": {}, "fraud": named}
    shown = search.model(session, "fraud")
    assert shown["aliases"] == named
    assert [each["aliases"] for each in shown["versions"]] == [["champion"], ["challenger", "newest"]]
