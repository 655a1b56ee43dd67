"""The runtime of an artifact that is registered without one, found from its bytes alone."""

from __future__ import annotations

import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from registry.errors import RuntimeUndetected
from registry.runtimes.storage import detection


class Own(BaseEstimator):  # type: ignore[misc] # it has no types
    def predict(self, rows: Any) -> Any:
        return rows


class Plain:
    def predict(self, row: Any) -> Any:
        return row


class Bomb:
    """Would change the environment when it is loaded."""

    def __reduce__(self) -> Any:
        return os.putenv, ("QUEUECAST_EXPLODED", "yes")


def detected(content: bytes) -> detection.Detected:
    file = io.BytesIO(content)
    found = detection.detect(file)
    assert file.tell() == 0
    return found


@pytest.fixture(scope="module")
def fitted() -> list[Any]:
    rows = load_iris(return_X_y=True)
    return [make_pipeline(LogisticRegression(max_iter=500)).fit(*rows), RandomForestClassifier(50).fit(*rows)]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_estimators_are_recognised_in_every_protocol(fitted: list[Any], protocol: int) -> None:
    assert [detected(pickle.dumps(each, protocol)).runtime for each in fitted] == ["sklearn"] * 2


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_files_of_joblib_are_recognised_compressed_or_not(fitted: list[Any], tmp_path: Path, compress: Any) -> None:
    for model in fitted:
        joblib.dump(model, tmp_path / "model", compress=compress)
        found = detected((tmp_path / "model").read_bytes())
        assert found.runtime == "sklearn"
        assert type(model).__name__ in found.reason


def test_functions_and_estimators_that_have_their_code_with_them_are_recognised() -> None:
    own = type("Mine", (Own,), {"__module__": "__main__"})
    assert detected(cloudpickle.dumps(lambda row: row)).runtime == "python"
    for module in (own, Own):
        module.__module__ = "__main__"
    assert detected(cloudpickle.dumps(Own())).runtime == "sklearn"
    Own.__module__ = __name__


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps({"model": LogisticRegression()}), "plain data"),
        (pickle.dumps([1, 2]), "plain data"),
        (pickle.dumps(Path), "any object"),
        (b"PK\x05\x06" + bytes(18), "archive"),
        (b"x" * 46 + b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 1, 1, 46, 0, 0), "table of contents"),
        (b"a,b\n1,2\n", "no pickle"),
        (b"", "no pickle"),
        (b"\x80", "no pickle"),
        (b"\x1f\x8b\x00", "no pickle"),
        (b"x\x9c\xff\xff", "no pickle"),
    ],
)
def test_what_could_be_anything_is_refused_with_the_runtimes_to_choose_from(content: bytes, words: str) -> None:
    with pytest.raises(RuntimeUndetected, match=words) as refused:
        detected(content)
    names = ("sklearn", "python", "onnx", "skops", "xgboost", "lightgbm", "catboost", "torch")
    assert all(name in str(refused.value) for name in names)


def test_nothing_of_a_pickle_is_run() -> None:
    with pytest.raises(RuntimeUndetected):
        detected(pickle.dumps(Bomb()))
    assert "QUEUECAST_EXPLODED" not in os.environ


def test_onnx_and_skops_are_recognised(fitted: list[Any]) -> None:
    skl2onnx, skops = pytest.importorskip("skl2onnx"), pytest.importorskip("skops.io")
    rows, _ = load_iris(return_X_y=True)
    assert detected(skl2onnx.to_onnx(fitted[0], rows[:1]).SerializeToString()).runtime == "onnx"
    assert detected(skops.dumps(fitted[0])).runtime == "skops"


def test_models_in_the_formats_of_their_libraries_are_recognised() -> None:
    xgboost, lightgbm = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    rows = load_iris(return_X_y=True)
    booster = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(*rows).get_booster()
    for kind in ("json", "ubj"):
        assert detected(bytes(booster.save_raw(raw_format=kind))).runtime == "xgboost"
    assert detected(b' {\n  "version": [3, 2, 0], "learner": {}}').runtime == "xgboost"
    text = lightgbm.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1).fit(*rows).booster_.model_to_string()
    assert detected(text.encode()).runtime == "lightgbm"
    for other in (b'{"lerner": {}}', b"{}", b"tree\nversion 4", b"{L" + bytes(7) + b"\x06learner"):
        with pytest.raises(RuntimeUndetected):
            detected(other)
