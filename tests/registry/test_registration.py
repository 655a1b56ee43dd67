from __future__ import annotations

import math
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from registry import registration, runtimes, settings, versions
from registry.database import Database
from registry.errors import (
    InputInvalid,
    MetadataInvalid,
    ModelLoadFailed,
    NameInvalid,
    OutputInvalid,
    RegistryError,
    RuntimeOptionsInvalid,
    RuntimeUnavailable,
    RuntimeUnknown,
    SignatureInvalid,
    VersionExists,
)
from registry.signatures.signature import Signature
from tests.registry import toys
from tests.registry.conftest import RoundTrip


def test_a_model_is_a_version_with_its_example_its_signature_and_its_libraries(round_trip: RoundTrip) -> None:
    version = round_trip.register(toys.double, "doubler", input_example=2.5, metadata={"author": "me"})
    assert (version.model_name, version.version, version.runtime) == ("doubler", "1", "python")
    assert version.signature.document() == {"kind": "scalar", "dtype": "float", "shape": []}
    assert version.input_example == 2.5
    assert version.metadata["author"] == "me"
    assert version.metadata["built_with"] == {
        "python": python_version(),
        "cloudpickle": installed_version("cloudpickle"),
        "joblib": installed_version("joblib"),
    }
    assert versions.get_version(round_trip.session, "doubler", "1") == version


def test_the_next_registration_is_the_next_version(round_trip: RoundTrip) -> None:
    assert round_trip.register(toys.double, input_example=2.5).version == "1"
    assert round_trip.register(toys.double, input_example=2.5).version == "2"
    assert round_trip.register(toys.double, input_example=2.5, version="beta").version == "beta"
    with pytest.raises(VersionExists):
        round_trip.register(toys.double, input_example=2.5, version="beta")


def test_the_caller_commits(round_trip: RoundTrip, sqlite_database: Database) -> None:
    round_trip.register(toys.double, input_example=2.5)
    with sqlite_database.session() as other:
        assert versions.list_models(other) == []
    round_trip.session.commit()
    with sqlite_database.session() as other:
        assert len(versions.list_models(other)) == 1


def test_the_store_of_the_settings_is_the_default(sqlite_database: Database, data_dir: Path) -> None:
    with sqlite_database.session() as session:
        version = registration.register(session, "m", toys.double, input_example=2.5)
    assert (Path(settings.load().artifacts_url) / "sha256" / version.artifact_sha256[:2]).is_dir()


def test_an_example_of_numpy_is_stored_as_json(round_trip: RoundTrip) -> None:
    version = round_trip.register(toys.Adder(), input_example=np.array([1, 2, 3]))
    assert version.input_example == [1, 2, 3]
    assert version.signature == Signature.from_example([1, 2, 3])


def test_an_example_is_stored_as_it_was_given_also_if_the_model_changes_it(round_trip: RoundTrip) -> None:
    example = {"px": 255.0, "kind": "good"}
    assert round_trip.register(lambda row: row.pop("px"), input_example=example).input_example == example
    assert example == {"px": 255.0, "kind": "good"}


def test_a_signature_can_be_given_with_or_without_an_example(round_trip: RoundTrip) -> None:
    signature = {"kind": "vector", "dtype": "int"}
    assert round_trip.register(toys.Adder(), signature=signature).input_example is None
    assert round_trip.register(toys.Adder(), signature=signature, input_example=[1]).signature.shape == (None,)
    with pytest.raises(InputInvalid, match="input_example"):
        round_trip.register(toys.Adder(), signature=signature, input_example=[1.5])


@pytest.mark.parametrize(
    ("model", "runtime"),
    [
        (toys.double, "python"),
        (toys.Adder(), "python"),
        (LinearRegression(), "sklearn"),
        (b"the bytes of a model", "onnx"),
    ],
)
def test_the_runtime_is_guessed(model: Any, runtime: str) -> None:
    assert runtimes.guess(model) == runtime


class LooksLikeAnEstimator:
    """Has all of an estimator's methods, but is none of scikit-learn's."""

    def fit(self) -> None: ...
    def predict(self, row: Any) -> Any: ...
    def get_params(self) -> None: ...


def test_only_what_is_derived_of_scikit_learn_is_an_estimator() -> None:
    assert runtimes.guess(LooksLikeAnEstimator()) == "python"
    assert runtimes.guess(type("Own", (LinearRegression,), {})()) == "sklearn"


@pytest.mark.parametrize(
    ("model", "named", "error", "reason"),
    [
        (toys.double, {"name": "no such"}, NameInvalid, "no such"),
        (toys.double, {"version": "no such"}, NameInvalid, "no such"),
        (toys.double, {"input_example": None}, SignatureInvalid, "Pass a signature"),
        (toys.double, {"input_example": math.nan}, SignatureInvalid, "NaN"),
        (toys.double, {"input_example": object()}, SignatureInvalid, "a object"),
        (
            toys.double,
            {"runtime": "fortran"},
            RuntimeUnknown,
            "there are catboost, lightgbm, mlflow, onnx, python, sklearn, skops, torch, xgboost",
        ),
        (toys.double, {"runtime_options": {"speed": 1}}, RuntimeOptionsInvalid, "runtime_options.speed"),
        (toys.double, {"metadata": {"a": {1, 2}}}, MetadataInvalid, "JSON object"),
        (toys.Unpicklable(), {}, ModelLoadFailed, "can't be serialized: TypeError: holds a socket"),
        (toys.Unloadable(), {}, ModelLoadFailed, "can't be loaded: ValueError: not today"),
        (toys.refuse, {}, ModelLoadFailed, "fails on its example: ValueError: not today"),
        (toys.answer_nan, {}, OutputInvalid, "prediction is NaN"),
        (5, {}, ModelLoadFailed, "a int, is not callable and has no predict"),
        (b"no model at all", {}, ModelLoadFailed, "can't be loaded"),
        (LinearRegression(), {"input_example": [1.0]}, ModelLoadFailed, "fails on its example: NotFittedError"),
    ],
)
def test_nothing_is_registered_of_what_does_not_work(
    round_trip: RoundTrip, tmp_path: Path, model: Any, named: dict[str, Any], error: type[RegistryError], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        round_trip.register(model, **{"input_example": 2.5, **named})
    assert versions.list_models(round_trip.session) == []
    assert not (tmp_path / "artifacts").exists()


def test_nothing_is_left_of_trying_a_model(
    round_trip: RoundTrip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    round_trip.register(toys.double, input_example=2.5)
    with pytest.raises(ModelLoadFailed):
        round_trip.register(toys.refuse, input_example=2.5)
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(("runtime", "modules"), [("onnx", ["onnxruntime"]), ("skops", ["skops", "skops.io"])])
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, modules: list[str]
) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)  # importing it now says that there is no such module
    reason = rf"Runtime '{runtime}' requires {modules[0]}, which is not installed: pip install 'queuecast\[{runtime}\]'"
    with pytest.raises(RuntimeUnavailable, match=reason):
        runtimes.load(runtime, tmp_path / "model", {}, Signature.from_example([1.0]))
