"""Models of two releases of scikit-learn, and one without it, on one worker: each answers as in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import pytest

from registry.environments.cache import EnvironmentCache
from registry.environments.locking import locked
from registry.errors import EnvironmentUnresolvable
from registry.settings import RegistrySettings
from tests.support.calls import expect, predictions
from tests.support.models import Echo
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

#: Of two years ago.
OTHER = "1.5.2"
REQUIREMENTS = [f"scikit-learn=={OTHER}", "numpy<2"]
#: Fits a forest, stores it in a file, and prints the release with its answers to some rows.
TRAIN = """
import json, sys
import joblib, sklearn
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
iris = load_iris()
model = RandomForestClassifier(10, random_state=0).fit(iris.data, iris.target)
joblib.dump(model, sys.argv[1])
print(json.dumps({"release": sklearn.__version__, "rows": iris.data[::15].tolist(),
                  "answers": model.predict_proba(iris.data[::15]).tolist()}))
"""


@dataclass
class Trained:
    """A model's file, and what it answers in the process that has made it."""

    path: Path
    release: str
    rows: list[list[float]]
    answers: list[list[float]]


def trained(python: str, path: Path) -> Trained:
    done = subprocess.run([python, "-c", TRAIN, str(path)], capture_output=True, text=True, check=True)
    return Trained(path, **json.loads(done.stdout))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("service"), env={"QUEUECAST_ENVIRONMENTS": "on"}) as running:
        running.start_worker("worker")
        yield running


@pytest.fixture(scope="module")
def other(service: Stack, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model of the other release, fitted in the environment in which the worker will serve it."""
    folder = Path(service.env["QUEUECAST_DATA_DIR"]) / "environments"
    settings = RegistrySettings().model_copy(update={"environments": "on", "environment_cache_dir": folder})
    try:
        environment = locked({"requirements": REQUIREMENTS}, settings)
    except EnvironmentUnresolvable as error:
        pytest.skip(f"no index of packages can be reached from here: {error.reason}")
    with_python = EnvironmentCache(settings).hold(environment)
    return trained(with_python.python, tmp_path_factory.mktemp("other") / "model.joblib")


def register(service: Stack, name: str, model: Trained, **more: Any) -> None:
    document = {
        "name": name, "runtime": "sklearn", "runtime_options": {"method": "predict_proba"},
        "input_example": model.rows[0], **more,
    }  # fmt: skip
    with model.path.open("rb") as artifact:
        data = {"metadata": json.dumps(document)}
        expect(201, service.api.post("/models", files={"artifact": artifact}, data=data))


def probabilities(service: Stack, name: str, model: Trained) -> list[list[float]]:
    found = predictions(service.outcomes(service.submit_all(name, model.rows)))
    return [list(each["probabilities"].values()) for each in found]


def test_each_answers_as_in_its_own_process(service: Stack, other: Trained, tmp_path: Path) -> None:
    todays = trained(sys.executable, tmp_path / "model.joblib")
    assert (todays.release, other.release) == (installed_version("scikit-learn"), OTHER)
    register(service, "todays", todays)
    register(service, "other", other, environment={"requirements": REQUIREMENTS})
    service.register("plain", Echo("plain"))
    for name in ("todays", "other", "plain"):
        service.deploy(name, endpoint_name=name, wait_s=60)
    assert probabilities(service, "todays", todays) == todays.answers
    assert probabilities(service, "other", other) == other.answers
    assert predictions(service.outcomes(service.submit_all("plain", "a"))) == [["plain", "a"]]
    assert [service.view(name)["warnings"] for name in ("todays", "other")] == [[], []]


def test_without_its_environment_it_is_warned_of_or_does_not_load(service: Stack, other: Trained) -> None:
    register(service, "misplaced", other)
    service.deploy("misplaced", endpoint_name="misplaced", wait_s=0)

    def settled() -> Any:
        view = service.view("misplaced")
        return view if view["status"] in ("active", "failed") else None

    view = eventually(settled, 60)
    assert view["status"] == "failed" or any(f"from version {OTHER}" in each for each in view["warnings"])
