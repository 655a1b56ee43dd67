"""Registering a version by upload, as a browser without scripts sends it, and deleting one."""

from __future__ import annotations

import html
import io
from typing import Any

import pytest

from tests.api.conftest import MAX_BYTES, Client, View
from tests.api.console.pages import fields, page, problems, text_of
from tests.api.described_client import Answer

TYPED = {"name": "adder", "runtime": "python", "input_example": "[1, 2]"}


def send(client: Client, content: bytes | None = b"model", file_name: str = "m.pkl", **typed: str) -> Answer:
    """Send the form with a file."""
    form: dict[str, Any] = {**fields(client.get("/console/register")), **TYPED, **typed}
    if content is not None:
        form["artifact"] = (io.BytesIO(content), file_name)
    return client.post("/console/register", data=form, content_type="multipart/form-data")


def test_a_version_is_registered_with_all_that_describes_it(client: Client) -> None:
    answer = send(
        client, runtime_options="{}", metadata='{"by": "me"}', signature='{"kind": "vector", "dtype": "float"}',
        version="first",
    )  # fmt: skip
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/models/adder?done=register")
    version = client.get("/models/adder/versions/first").json
    assert version["metadata"] == {"by": "me"}
    assert version["input_example"] == [1, 2]
    assert version["signature"]["shape"] == [None]
    shown = page(client, "/models/adder?done=register")
    assert "Registered. Choose “Deploy…”" in shown
    assert "first latest python float[any] 5 B" in shown


def test_a_version_that_is_registered_is_deployed_by_the_next_forms(client: Client) -> None:
    send(client)
    form = fields(client.get("/console/models/adder/versions/1/deploy"))
    asked = client.post("/console/deploy/review", data={**form, "endpoint_name": "adding"})
    assert client.post("/console/deploy", data=fields(asked)).status_code == 303
    assert client.get("/deployments/adding").json["version"] == "1"


@pytest.mark.parametrize(
    ("file_name", "runtime"), [("m.onnx", "onnx"), ("M.SKOPS", "skops"), ("folder.tar.gz", None), ("m.pkl", None)]
)
def test_the_runtime_is_detected_from_the_file(client: Client, file_name: str, runtime: str | None) -> None:
    answer = send(client, file_name=file_name, runtime="")
    if runtime:
        assert client.get("/models/adder").json["versions"][0]["runtime"] == runtime
    elif file_name == "m.pkl":
        assert list(problems(answer)) == ["runtime"]
    else:
        assert list(problems(answer)) == ["artifact"]  # it is read as an archive, and is none


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"name": "a/b"}, "name", "can't be the name of a model"),
        ({"name": ""}, "name", "is required"),
        ({"input_example": ""}, "input_example", "Pass a signature"),
        ({"input_example": "[1, 2"}, "input_example", "This is not JSON"),
        ({"runtime_options": "[]"}, "runtime_options", "should be an object"),
        ({"runtime_options": '{"a": 1}'}, "runtime_options", "a"),
        ({"metadata": "{"}, "metadata", "This is not JSON"),
        ({"signature": '{"kind": "no"}'}, "signature", "kind"),
        ({"runtime": "magic"}, "runtime", "magic"),
        ({"version": "a/b"}, "version", "can't be the name of a version"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_stays(
    client: Client, typed: dict[str, str], field: str, said: str
) -> None:
    answer = send(client, b"model", "m.pkl", **typed)
    assert answer.status_code in (400, 422), answer.text
    assert said in problems(answer)[field]
    assert 'aria-invalid="true"' in answer.text
    for value in ({**TYPED, **typed}).values():
        assert html.escape(value, quote=False) in answer.text.replace("&#34;", '"').replace("&#39;", "'")
    assert client.get("/models").json["models"] == []


def test_a_version_that_is_there_is_said_at_its_field(client: Client) -> None:
    client.register(version="1")
    answer = send(client, version="1")
    assert answer.status_code == 422
    assert "exists" in problems(answer)["version"]


@pytest.mark.parametrize(
    ("content", "said"), [(None, "Choose the file"), (b"", "is an empty file"), (b"a" * (MAX_BYTES + 1), "may have")]
)
def test_a_file_that_is_missing_empty_or_too_large_is_said_at_its_field(
    client: Client, content: bytes | None, said: str
) -> None:
    answer = send(client, content)
    assert answer.status_code in (413, 422)
    assert said in problems(answer)["artifact"]


def test_a_file_may_be_as_large_as_one_that_a_program_sends(client: Client) -> None:
    content = b"a" * MAX_BYTES
    assert send(client, content, metadata='{"a": "%s"}' % ("b" * 30_000)).status_code == 303
    assert client.get("/models/adder").json["versions"][0]["artifact_size_bytes"] == MAX_BYTES
    answer = send(client, b"a" * (3 * MAX_BYTES))
    assert answer.status_code == 413
    assert "may have" in problems(answer)["artifact"]


def test_an_upload_that_was_not_made_for_this_browser_registers_nothing(client: Client) -> None:
    form = {**TYPED, "form_mark": "0" * 64, "artifact": (io.BytesIO(b"model"), "m.pkl")}
    answer = client.post("/console/register", data=form, content_type="multipart/form-data")
    assert answer.status_code == 403
    assert client.get("/models").json["models"] == []


def test_other_forms_stay_small(client: Client) -> None:
    form = {**fields(client.get("/console/keys/new")), "name": "a" * (2 * MAX_BYTES)}
    answer = client.post("/console/keys/new", data=form)
    assert answer.status_code == 413


def test_a_version_is_deleted_after_a_question_and_not_while_it_serves(client: Client, adding: View) -> None:
    client.register(version="2")
    assert "can't be undone" in page(client, "/models/adder/versions/2/delete")
    form = fields(client.get("/console/models/adder/versions/2/delete"))
    answer = client.post("/console/models/adder/versions/2/delete", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/models/adder?done=delete")
    assert [each["version"] for each in client.get("/models/adder").json["versions"]] == ["1"]
    assert "It can't be deleted while it is deployed at adding" in page(client, "/models/adder/versions/1/delete")
    answer = client.post("/console/models/adder/versions/1/delete", data=form)
    assert answer.status_code == 409
    assert "is deployed as adding: undeploy it first." in text_of(answer)
    client.register("other")
    answer = client.post("/console/models/other/versions/1/delete", data=form)
    assert answer.headers["Location"] == "/console/models?done=delete"


def test_a_version_that_an_alias_names_is_not_deleted(client: Client) -> None:
    client.register()
    client.put("/models/adder/aliases/champion", json={"version": "1"})
    form = fields(client.get("/console/models/adder/versions/1/delete"))
    answer = client.post("/console/models/adder/versions/1/delete", data=form)
    assert answer.status_code == 409
    assert "Version 1 of model 'adder' is named by champion" in text_of(answer)
    assert "Delete the version" in text_of(answer)
