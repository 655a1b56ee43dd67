"""Versions that run in environments of their own, on a worker that runs others in its own."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import StartWorker
from tests.support.calls import expect, predictions
from tests.support.environments import interpreters
from tests.support.environments.wheels import make_wheel
from tests.support.models import Echo
from tests.support.service.stack import Stack

#: A pickle that names `greet` of the package, which is not installed here, nor where the service runs.
GREET = b"\x80\x04c%s\ngreet\n."
MODULE = 'import sys\n\ndef greet(name):\n    return [name, "{version}", sys.version_info[:2]]\n'


@pytest.fixture
def package(service: Stack, name: str) -> str:
    """A package with the versions 1.0 and 2.0, for the service's environments."""
    for version in ("1.0", "2.0"):
        make_wheel(service.folder / "wheels", name, version, {f"{name}.py": MODULE.format(version=version)})
    return name


def register(service: Stack, name: str, version: str, **environment: Any) -> dict[str, Any]:
    wanted = {"requirements": [f"{name}=={version}"], **environment}
    document = {"name": name, "runtime": "python", "input_example": "you", "environment": wanted}
    files, data = {"artifact": GREET % name.encode()}, {"metadata": json.dumps(document)}
    return expect(201, service.api.post("/models", files=files, data=data))


def answers(service: Stack, endpoint_name: str) -> list[Any]:
    return predictions(service.outcomes(service.submit_all(endpoint_name, "ab")))


def test_each_version_answers_in_its_own_environment_on_one_worker(service: Stack, package: str) -> None:
    for version in ("1.0", "2.0"):
        register(service, package, version)
    service.register(f"{package}-plain", Echo("plain"))
    endpoints = [f"{package}-{letter}" for letter in "abc"]
    for endpoint, model, version in zip(
        endpoints, (package, package, f"{package}-plain"), ("1", "2", "1"), strict=True
    ):
        service.deploy(model, version=version, endpoint_name=endpoint)
    assert [each[:2] for each in answers(service, endpoints[0])] == [["a", "1.0"], ["b", "1.0"]]
    assert [each[:2] for each in answers(service, endpoints[1])] == [["a", "2.0"], ["b", "2.0"]]
    assert answers(service, endpoints[2]) == [["plain", "a"], ["plain", "b"]]
    service.deploy(package, version="2", endpoint_name=endpoints[0])
    assert [each[1] for each in answers(service, endpoints[0])] == ["2.0", "2.0"]


def test_equal_environments_are_one(service: Stack, package: str) -> None:
    first, again, other = (register(service, package, version) for version in ("1.0", "1.0", "2.0"))
    assert first["environment"] == again["environment"]
    assert first["environment_sha256"] != other["environment_sha256"]
    assert first["environment"]["packages"] == [f"{package}==1.0"]


def test_an_environment_that_can_not_be_built_leaves_the_version_that_serves(service: Stack, package: str) -> None:
    for version in ("1.0", "2.0"):
        register(service, package, version)
    service.deploy(package, version="1", endpoint_name=package)
    (service.folder / "wheels" / f"{package}-2.0-py3-none-any.whl").unlink()
    service.deploy(package, version="2", endpoint_name=package, wait_s=0)
    view = service.wait_for_status(package, "failed")
    assert "can't be built here" in view["load_error"]
    assert f"{package}==2.0" in view["load_error"]
    assert "Version 1 keeps serving" in view["reason"]
    assert [each[1] for each in answers(service, package)] == ["1.0", "1.0"]


@pytest.fixture
def busy_builder(service: Stack) -> Iterator[Any]:
    """A lock as the process has that builds an environment."""
    folder = Path(service.env["QUEUECAST_DATA_DIR"]) / "environments"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "building.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def test_the_status_shows_that_an_environment_is_being_built(service: Stack, package: str, busy_builder: Any) -> None:
    register(service, package, "1.0")
    service.deploy(package, endpoint_name=package, wait_s=0)
    view = service.wait_for_status(package, "building environment")
    assert view["reason"] == "The environment of the version is being built: waiting for another build."
    [worker] = view["workers"]
    assert (worker["state"], worker["building"]) == ("building environment", "waiting for another build")
    fcntl.flock(busy_builder, fcntl.LOCK_UN)
    service.wait_for_status(package, "active")


@pytest.mark.skipif(not interpreters.others(), reason="no other Python from 3.9 on is installed here")
def test_a_version_runs_on_another_python(
    service: Stack, package: str, group_worker: StartWorker, tmp_path: Path
) -> None:
    name, place = next(iter(sorted(interpreters.others().items())))
    python = name.removeprefix("cpython")
    (tmp_path / (f"python{python}" if name.startswith("cpython") else name)).symlink_to(place)
    group_worker(PATH=f"{tmp_path}{os.pathsep}{service.env['PATH']}")
    register(service, package, "1.0", python=python)
    service.deploy(package, endpoint_name=package, worker_group=package)
    minor = int(python.rpartition(".")[2])
    assert answers(service, package) == [["a", "1.0", [3, minor]], ["b", "1.0", [3, minor]]]
