from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from registry import deployments, versions
from registry.artifacts.store import ArtifactStore
from registry.errors import (
    InputInvalid,
    MetadataInvalid,
    ModelNotFound,
    NameInvalid,
    RegistryError,
    RuntimeOptionsInvalid,
    RuntimeUnknown,
    SignatureInvalid,
    VersionExists,
    VersionInUse,
    VersionNotFound,
)
from tests.registry.conftest import Registrar


def test_versions_of_each_model_are_numbered_from_1(add: Registrar) -> None:
    assert [add("a").version, add("a").version, add("b").version, add("a").version] == ["1", "2", "1", "3"]


def test_given_numbers_are_counted_on_from_and_other_names_are_not(add: Registrar) -> None:
    given = ["7", "beta", "3", "2026-10-01"]
    assert [add(version=name).version for name in given] == given
    assert add().version == "8"


def test_a_number_too_long_to_be_counted_is_a_name(add: Registrar) -> None:
    add(version="9" * 30)
    assert add().version == "1"
    add(version="9" * 18)
    assert add().version == "1" + 18 * "0"


def test_a_version_is_what_was_added(session: Session, store: ArtifactStore, add: Registrar) -> None:
    started_at = datetime.now(UTC)
    added = add(
        "m", "v1", artifact=b"bytes", runtime="sklearn", runtime_options={"method": "predict_proba"},
        signature={"kind": "vector", "dtype": "float"}, input_example=[0.5, 1e300, -3],
        metadata={"words": "Grüße \u0000 😀", "nested": [{"a": None}]},
    )  # fmt: skip
    session.commit()
    session.expunge_all()
    found = versions.get_version(session, "m", "v1")
    assert found == added
    assert store.get(found.artifact_sha256) == b"bytes"
    assert (found.artifact_size_bytes, found.runtime) == (5, "sklearn")
    assert found.runtime_options == {"method": "predict_proba"}
    assert found.input_example == [0.5, 1e300, -3]
    assert found.metadata == {"words": "Grüße \u0000 😀", "nested": [{"a": None}]}
    assert started_at - timedelta(seconds=1) < found.created_at <= datetime.now(UTC)
    assert found.created_at.utcoffset() == timedelta(0)


def test_a_document_is_json_with_the_schema_of_the_input(add: Registrar) -> None:
    document = json.loads(json.dumps(add("m", input_example=[1.0, 2.0]).document(), allow_nan=False))
    assert document["signature"] == {"kind": "vector", "dtype": "float", "shape": [2]}
    assert document["input_schema"]["minItems"] == 2
    assert datetime.fromisoformat(document["created_at"]).tzinfo is not None


def test_a_version_is_never_changed(session: Session, add: Registrar) -> None:
    first = add("m", "1", artifact=b"first")
    with pytest.raises(VersionExists, match="'1' of model 'm'"):
        add("m", "1", artifact=b"second")
    assert versions.get_version(session, "m", "1") == first


def test_a_deleted_version_is_gone_and_its_name_stays_taken(session: Session, add: Registrar) -> None:
    add("m", "1")
    versions.delete_version(session, "m", "1")
    session.commit()
    with pytest.raises(ModelNotFound):
        versions.get_version(session, "m", "1")
    with pytest.raises(VersionExists):
        add("m", "1")
    assert add("m").version == "2"
    with pytest.raises(VersionNotFound):
        versions.delete_version(session, "m", "1")
    assert [each.version for each in versions.get_model(session, "m").versions] == ["2"]


def test_a_deployed_version_is_not_deleted(session: Session, add: Registrar) -> None:
    add("m")
    add("m")
    deployments.deploy(session, "m", version="1", endpoint_name="b")
    deployments.deploy(session, "m", version="1", endpoint_name="a")
    with pytest.raises(VersionInUse, match="as a, b: undeploy it first") as refused:
        versions.delete_version(session, "m", "1")
    assert refused.value.endpoint_names == ["a", "b"]
    versions.delete_version(session, "m", "2")
    deployments.undeploy(session, "a")
    deployments.undeploy(session, "b", "park")
    versions.delete_version(session, "m", "1")


@pytest.mark.parametrize(
    ("names", "latest"),
    [(["2", "10", "9"], "10"), (["2", "b", "a"], "a"), (["b", "3", "2"], "2"), (["01", "2"], "2"), (["1"], "1")],
)
def test_the_latest_is_the_highest_number_or_else_the_last(
    session: Session, add: Registrar, names: list[str], latest: str
) -> None:
    for name in names:
        add("m", name)
    assert versions.latest_version(session, "m").version == latest
    model = versions.get_model(session, "m")
    assert (model.latest_version, model.version_count) == (latest, len(names))
    assert [each["version"] for each in json.loads(json.dumps(model.document()))["versions"]] == names


def test_models_are_listed_by_name_while_they_have_a_version(session: Session, add: Registrar) -> None:
    assert versions.list_models(session) == []
    for name in ("b", "a", "b", "gone"):
        add(name)
    versions.delete_version(session, "gone", "1")
    listed = versions.list_models(session)
    assert [(each.name, each.latest_version, each.version_count) for each in listed] == [("a", "1", 1), ("b", "2", 2)]
    assert json.dumps([each.document() for each in listed])


def test_stats_count_each_artifact_once_and_what_is_served(session: Session, add: Registrar) -> None:
    assert versions.stats(session) == {
        "model_count": 0, "version_count": 0, "version_count_by_runtime": {},
        "artifact_count": 0, "artifact_size_bytes": 0, "deployment_count": 0,
    }  # fmt: skip
    add("a", artifact=b"12345")
    add("a", artifact=b"12345")
    add("b", artifact=b"123", runtime="sklearn")
    add("gone", artifact=b"1")
    versions.delete_version(session, "gone", "1")
    deployments.deploy(session, "a")
    deployments.deploy(session, "b")
    deployments.undeploy(session, "b-v1")
    assert versions.stats(session) == {
        "model_count": 2, "version_count": 3, "version_count_by_runtime": {"python": 2, "sklearn": 1},
        "artifact_count": 2, "artifact_size_bytes": 8, "deployment_count": 1,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["no such", "a" * 500, "", "\u0000", "a\u0000", 5, None])
def test_what_has_no_possible_name_is_not_found(session: Session, add: Registrar, name: Any) -> None:
    add("m")
    with pytest.raises(ModelNotFound):
        versions.get_model(session, name)
    with pytest.raises(ModelNotFound):
        versions.get_version(session, name, "1")
    with pytest.raises(VersionNotFound):
        versions.get_version(session, "m", name)
    with pytest.raises(VersionNotFound):
        versions.delete_version(session, "m", name)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"name": "no such"}, NameInvalid),
        ({"name": "stats"}, NameInvalid),
        ({"version": "a/b"}, NameInvalid),
        ({"runtime": "fortran"}, RuntimeUnknown),
        ({"runtime_options": {"speed": 5}}, RuntimeOptionsInvalid),
        ({"input_example": None}, SignatureInvalid),
        ({"input_example": []}, SignatureInvalid),
        ({"signature": {"kind": "spiral"}}, SignatureInvalid),
        ({"signature": {"kind": "scalar", "dtype": "float"}}, InputInvalid),
        ({"metadata": {"when": datetime.now(UTC)}}, MetadataInvalid),
        ({"metadata": {"a": float("nan")}}, MetadataInvalid),
        ({"metadata": {"a": "\ud800"}}, MetadataInvalid),
        ({"metadata": ["a"]}, MetadataInvalid),
        ({"metadata": {"runs": {1: "a", "1": "b"}}}, MetadataInvalid),
        ({"metadata": {"a": "x" * 1_000_001}}, MetadataInvalid),
    ],
)
def test_nothing_is_stored_of_what_is_refused(
    session: Session, add: Registrar, tmp_path: Path, wrong: dict[str, Any], error: type[RegistryError]
) -> None:
    with pytest.raises(error):
        add(**wrong)
    assert versions.list_models(session) == []
    assert not (tmp_path / "artifacts").exists()
