"""Registering a version with an environment: refused where they are off, else locked and shown."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Client
from tests.api.described_client import Answer
from tests.api.models.test_mlflow import OLD
from tests.api.models.test_mlflow import post as post_folder
from tests.support.environments.wheels import make_wheel
from tests.support.service.environment import forget_cached_settings

WANTED = {"requirements": ["greeting"]}


def post(client: Client, environment: Any) -> Answer:
    described = {"name": "adder", "runtime": "python", "input_example": [1.0], "environment": environment}
    parts = {"artifact": (io.BytesIO(b"the model"), "model"), "metadata": json.dumps(described)}
    return client.post("/models", data=parts, content_type="multipart/form-data")


@pytest.fixture
def allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service allows environments, of these wheels."""
    for name, version in (("greeting", "1.0"), ("mlflow", "3.0"), ("scikit_learn", "0.20.0")):
        make_wheel(tmp_path / "wheels", name, version)
    monkeypatch.setenv("QUEUECAST_ENVIRONMENTS", "on")
    monkeypatch.setenv("QUEUECAST_WHEELS", str(tmp_path / "wheels"))
    forget_cached_settings()


def test_without_permission_it_is_refused_by_the_name_of_the_setting(client: Client) -> None:
    answer = post(client, WANTED)
    assert (answer.status_code, answer.json["code"]) == (422, "environments_off")
    assert "QUEUECAST_ENVIRONMENTS=on" in answer.json["detail"]
    assert client.get("/models").json == {"models": []}


@pytest.mark.usefixtures("allowed")
def test_a_version_shows_the_environment_that_it_was_locked_to(client: Client) -> None:
    answer = post(client, WANTED)
    assert answer.status_code == 201, answer.text
    environment = answer.json["environment"]
    assert environment["sha256"] == answer.json["environment_sha256"]
    assert environment["packages"] == ["greeting==1.0"]
    assert "--hash=sha256:" in environment["lock"]
    assert client.get("/models/adder/versions/1").json == answer.json
    [listed] = client.get("/models/adder").json["versions"]
    assert listed["environment_sha256"] == environment["sha256"]
    again = post(client, {"lock": environment["lock"], "python": environment["python"]})
    assert again.json["environment"] == environment


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("environment", "code", "text"),
    [
        ({"requirements": ["absent"]}, "environment_unresolvable", "No solution found"),
        ({"requirements": ["--pre"]}, "environment_invalid", "no option, file or address"),
        ({}, "environment_invalid", "either requirements or a lock"),
        ({**WANTED, "python": "2.7"}, "environment_invalid", "3.9"),
        ({"from_folder": True}, "request_invalid", "from_folder"),
        ({**WANTED, "packages": []}, "request_invalid", "packages"),
    ],
)
def test_an_environment_that_can_not_be_is_refused(client: Client, environment: Any, code: str, text: str) -> None:
    answer = post(client, environment)
    assert (answer.status_code, answer.json["code"]) == (422, code), answer.text
    assert text in answer.text
    assert client.get("/models").json == {"models": []}


@pytest.mark.usefixtures("allowed")
def test_an_mlflow_folder_is_taken_with_its_own_packages_and_without_mlflow_itself(client: Client) -> None:
    python = "python: 3.10.4\nbuild_dependencies:\n- pip==22\n"
    files = {"MLmodel": OLD, "model.pkl": "bytes", "requirements.txt": "mlflow==3.0\nscikit-learn==0.20.0\n"}
    signature = {"kind": "scalar", "dtype": "float"}
    own = post_folder(
        client, {**files, "python_env.yaml": python}, environment={"from_folder": True}, signature=signature
    )
    assert own.status_code == 201, own.text
    assert own.json["environment"]["python"] == "3.10"
    assert own.json["environment"]["packages"] == ["scikit-learn==0.20.0"]
    assert own.json["metadata"]["mlflow"]["warnings"] == []
    plain = post_folder(client, files, signature=signature)
    assert plain.json["environment_sha256"] is None
    chosen = {"from_folder": True, "python": "3.12"}
    assert post_folder(client, files, environment=chosen, signature=signature).json["environment"]["python"] == "3.12"


@pytest.mark.usefixtures("allowed")
def test_an_mlflow_folder_without_requirements_has_no_environment_to_take(client: Client) -> None:
    files = {"MLmodel": OLD, "model.pkl": "bytes"}
    signature = {"kind": "scalar", "dtype": "float"}
    answer = post_folder(client, files, environment={"from_folder": True}, signature=signature)
    assert (answer.status_code, answer.json["code"]) == (422, "environment_invalid")
    assert "requirements.txt" in answer.json["detail"]
