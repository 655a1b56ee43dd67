"""Models over HTTP: registering, looking, deleting."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression

from registry.artifacts.store import ArtifactStore
from registry.settings import load as registry_settings
from tests.api.conftest import MAX_BYTES, Client
from tests.api.described_client import Answer
from tests.support.service.environment import forget_cached_settings

METADATA = {"name": "adder", "runtime": "python", "input_example": [1.0, 2.0]}


def post(client: Client, artifact: Any = b"model", metadata: Any = METADATA, **more: Any) -> Answer:
    """Register; None leaves a part out, and what is neither bytes nor a document is sent as it is."""
    file = (io.BytesIO(artifact), "model.bin") if isinstance(artifact, bytes) else artifact
    text = json.dumps(metadata) if isinstance(metadata, dict) else metadata
    parts = {"artifact": file, "metadata": text, **more}
    given = {name: part for name, part in parts.items() if part is not None}
    return client.post("/models", data=given, content_type="multipart/form-data")


def field_of(answer: Answer, code: str) -> Any:
    assert (answer.status_code, answer.json["code"]) == (422, code), answer.text
    return answer.json.get("field")


def test_registering_stores_the_artifact_and_answers_with_the_version(client: Client) -> None:
    answer = post(client, artifact=b"the model", metadata={**METADATA, "metadata": {"made_by": "a test"}})
    assert answer.status_code == 201
    assert answer.headers["Location"] == "/models/adder/versions/1"
    version = answer.json
    assert (version["model_name"], version["version"], version["runtime"]) == ("adder", "1", "python")
    assert version["signature"] == {"kind": "vector", "dtype": "float", "shape": [2]}
    assert version["input_schema"] == {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    assert (version["input_example"], version["metadata"]) == ([1.0, 2.0], {"made_by": "a test"})
    assert version["artifact_sha256"] == hashlib.sha256(b"the model").hexdigest()
    assert version["artifact_size_bytes"] == 9
    assert client.get(answer.headers["Location"]).json == version
    assert ArtifactStore(registry_settings().artifacts_url).get(version["artifact_sha256"]) == b"the model"


def test_a_signature_can_be_given_instead_of_an_example(client: Client) -> None:
    signature = {"kind": "named", "fields": {"age": {"dtype": "int", "shape": []}}}
    answer = post(client, metadata={"name": "adder", "runtime": "python", "signature": signature})
    assert answer.status_code == 201
    assert answer.json["signature"] == signature
    assert answer.json["input_example"] is None


def test_without_a_runtime_it_is_found_from_the_artifact(client: Client) -> None:
    metadata = {"name": "adder", "input_example": [1.0, 2.0]}
    found = post(client, artifact=pickle.dumps(LogisticRegression()), metadata=metadata)
    assert (found.status_code, found.json["runtime"]) == (201, "sklearn"), found.text
    assert found.json["runtime_reason"] == "the file is a pickle of sklearn.linear_model._logistic.LogisticRegression"
    refused = post(client, metadata=metadata)
    field_of(refused, "runtime_undetected")
    assert all(name in refused.json["detail"] for name in ("sklearn", "python", "onnx", "skops"))


def test_version_numbers_count_up_and_may_be_given(client: Client) -> None:
    assert post(client).json["version"] == "1"
    assert post(client, metadata={**METADATA, "version": 7}).json["version"] == "7"
    assert post(client, metadata={**METADATA, "version": "candidate"}).json["version"] == "candidate"
    assert post(client).json["version"] == "8"


def test_metadata_may_come_as_a_file(client: Client) -> None:
    assert post(client, metadata=(io.BytesIO(json.dumps(METADATA).encode()), "metadata.json")).status_code == 201


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({}, "metadata.name"),
        ({**METADATA, "format": "mlflow"}, "metadata.runtime"),
        ({**METADATA, "colour": "red"}, "metadata.colour"),
        ({**METADATA, "name": ""}, "metadata.name"),
        ({**METADATA, "name": 3}, "metadata.name"),
        ({**METADATA, "name": "\ud800"}, "metadata.name"),
        ({**METADATA, "version": 1.5}, "metadata.version"),
        ({**METADATA, "version": True}, "metadata.version"),
        ({**METADATA, "version": "v" * 101}, "metadata.version"),
        ({**METADATA, "metadata": []}, "metadata.metadata"),
        ({**METADATA, "runtime_options": "vectorized"}, "metadata.runtime_options"),
        ({**METADATA, "signature": []}, "metadata.signature"),
        ("[]", "metadata"),
        ("null", "metadata"),
        (None, "metadata"),
    ],
)
def test_wrong_metadata_is_refused_with_the_field(client: Client, metadata: Any, field: str) -> None:
    assert field_of(post(client, metadata=metadata), "request_invalid") == field
    assert client.get("/models").json == {"models": []}


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({**METADATA, "name": "stats"}, "name_invalid"),
        ({**METADATA, "name": "a b"}, "name_invalid"),
        ({**METADATA, "version": "1/2"}, "name_invalid"),
        ({**METADATA, "runtime": "cobol"}, "runtime_unknown"),
        ({**METADATA, "runtime_options": {"colour": "red"}}, "runtime_options_invalid"),
        ({**METADATA, "metadata": {"text": "\ud800"}}, "metadata_invalid"),
        ({**METADATA, "signature": {"kind": "cube"}}, "signature_invalid"),
        ({"name": "adder", "runtime": "python"}, "signature_invalid"),
        ({**METADATA, "input_example": []}, "signature_invalid"),
        ({**METADATA, "input_example": [[1, 2], [3]]}, "signature_invalid"),
        ({**METADATA, "input_example": [10**400]}, "signature_invalid"),
        ({**METADATA, "signature": {"kind": "scalar", "dtype": "float"}}, "input_invalid"),
    ],
)
def test_what_the_registry_refuses_has_a_code_of_its_own(client: Client, metadata: Any, code: str) -> None:
    field_of(post(client, metadata=metadata), code)
    assert client.get("/models").json == {"models": []}


def test_missing_unknown_and_repeated_parts_are_named(client: Client) -> None:
    assert field_of(post(client, artifact=None), "request_invalid") == "artifact"
    assert field_of(post(client, artifact=b""), "request_invalid") == "artifact"
    assert field_of(post(client, artifact="text"), "request_invalid") == "artifact"
    assert field_of(post(client, more="1"), "request_invalid") == "more"
    for name, twice in (("artifact", [(io.BytesIO(b"m"), "one"), (io.BytesIO(b"m"), "two")]), ("metadata", ["{}"] * 2)):
        answer = post(client, **{name: twice})
        assert field_of(answer, "request_invalid") == name
        assert answer.json["errors"] == [{"field": name, "message": "is given more than once"}]


@pytest.mark.parametrize("metadata", ["{", '{"name": NaN}', "[" * 100 + "]" * 100, '{"name": ' + "9" * 5_000 + "}"])
def test_metadata_that_is_not_json_is_refused(client: Client, metadata: str) -> None:
    answer = post(client, metadata=metadata)
    assert (answer.status_code, answer.json["code"]) == (400, "json_invalid")


def test_metadata_in_a_file_that_is_not_utf_8_is_refused(client: Client) -> None:
    answer = post(client, metadata=(io.BytesIO(b'"\xff"'), "metadata.json"))
    assert (answer.status_code, answer.json["code"]) == (400, "json_invalid")


def test_a_body_that_is_not_multipart_is_refused(client: Client) -> None:
    for answer in (client.post("/models", json=METADATA), client.post("/models")):
        assert (answer.status_code, answer.json["code"]) == (415, "media_type_wrong")


def test_a_multipart_body_without_its_boundary_misses_its_parts(client: Client) -> None:
    answer = client.post("/models", data=b"--x\r\n", content_type="multipart/form-data")
    assert answer.json["errors"][0]["field"] == "artifact"


def test_an_artifact_at_the_limit_is_taken_and_one_over_it_is_not(client: Client) -> None:
    assert post(client, artifact=b"m" * MAX_BYTES).status_code == 201
    for size in (MAX_BYTES + 1, 5 * MAX_BYTES):
        answer = post(client, artifact=b"m" * size)
        assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")
        assert str(MAX_BYTES) in answer.json["detail"]


def test_metadata_over_the_body_limit_is_refused_in_both_forms(client: Client) -> None:
    long = json.dumps({**METADATA, "metadata": {"text": "x" * MAX_BYTES}})
    for metadata in (long, (io.BytesIO(long.encode()), "metadata.json")):
        answer = post(client, metadata=metadata)
        assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")


def test_a_taken_version_is_a_conflict(client: Client) -> None:
    assert post(client, metadata={**METADATA, "version": "1"}).status_code == 201
    answer = post(client, artifact=b"another", metadata={**METADATA, "version": "1"})
    assert (answer.status_code, answer.json["code"]) == (409, "version_exists")


def test_a_store_that_cannot_be_written_is_a_503(
    app: Any, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("QUEUECAST_ARTIFACTS_URL", str(tmp_path / "file" / "artifacts"))
    forget_cached_settings()
    answer = post(client)
    assert (answer.status_code, answer.json["code"]) == (503, "artifact_store_unavailable")
    assert client.get("/models").json == {"models": []}


def test_models_are_listed_and_shown_with_their_versions(client: Client) -> None:
    for name in ("zebra", "adder", "adder"):
        post(client, metadata={**METADATA, "name": name})
    adder, zebra = client.get("/models").json["models"]
    assert (adder["name"], adder["latest_version"], adder["version_count"]) == ("adder", "2", 2)
    assert zebra["name"] == "zebra"
    shown = client.get("/models/adder").json
    assert [each["version"] for each in shown["versions"]] == ["1", "2"]
    assert {name: shown[name] for name in adder} == adder


def test_stats_count_models_versions_artifacts_and_serving_deployments(client: Client) -> None:
    assert client.get("/models/stats").json["model_count"] == 0
    post(client)
    post(client)
    post(client, artifact=b"another", metadata={**METADATA, "name": "zebra"})
    client.deploy()
    assert client.get("/models/stats").json == {
        "model_count": 2,
        "version_count": 3,
        "version_count_by_runtime": {"python": 3},
        "artifact_count": 2,
        "artifact_size_bytes": 12,
        "deployment_count": 1,
    }


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/models/ghost", "model_not_found"),
        ("/models/ghost/versions/1", "model_not_found"),
        ("/models/adder/versions/2", "version_not_found"),
        ("/models/adder/versions/%00", "version_not_found"),
        ("/models/%F0%9F%91%BB", "model_not_found"),
        ("/models/" + "m" * 5_000, "model_not_found"),
        ("/models/adder/versions", "not_found"),
    ],
)
def test_what_is_not_registered_is_a_404(client: Client, path: str, code: str) -> None:
    post(client)
    answer = client.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, code)


def test_deleting_frees_everything_but_the_version_name(client: Client) -> None:
    post(client)
    assert client.delete("/models/adder/versions/1").status_code == 204
    assert client.get("/models/adder/versions/1").status_code == 404
    assert client.delete("/models/adder/versions/1").status_code == 404
    assert client.get("/models").json == {"models": []}
    assert post(client, metadata={**METADATA, "version": "1"}).json["code"] == "version_exists"


def test_a_version_is_not_deleted_while_an_endpoint_serves_it(client: Client) -> None:
    post(client)
    client.deploy("adding")
    answer = client.delete("/models/adder/versions/1")
    assert (answer.status_code, answer.json["code"]) == (409, "version_in_use")
    assert answer.json["endpoint_names"] == ["adding"]
    client.post("/deployments/undeploy", json={"endpoint_name": "adding"})
    assert client.delete("/models/adder/versions/1").status_code == 204
