"""CatBoost's own files answer as its estimators do; the library is large, so these tests have a tier of their own."""

from __future__ import annotations

import io
import pickle
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_wine

from registry import runtimes
from registry.errors import InputUnsuitable, ModelLoadFailed, RuntimeOptionsInvalid, RuntimeUnavailable
from registry.runtimes.storage import detection
from tests.registry.conftest import RoundTrip

DIABETES = load_diabetes(scaled=False)
WINE = load_wine()
ROWS = WINE.data.tolist()
QUIET: dict[str, Any] = {"iterations": 6, "depth": 3, "verbose": False, "allow_writing_files": False, "thread_count": 1}
NAMED: dict[str, Any] = {"input_example": ROWS[0], "runtime": "catboost"}


def test_a_library_that_is_missing_is_named_with_the_command_that_installs_it(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "catboost", None)
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'queuecast\[catboost\]'"):
        round_trip(b"CBM1", **NAMED)


def test_a_file_is_recognised_without_the_library() -> None:
    assert detection.detect(io.BytesIO(b"CBM1\xf0 \x00\x00")).runtime == "catboost"


@pytest.fixture
def catboost() -> Any:
    return pytest.importorskip("catboost")


def alone_and_together(model: Any, rows: list[Any]) -> list[Any]:
    answers: list[Any] = model.predict(rows)
    assert [model.predict([row])[0] for row in rows[:20]] == answers[:20]
    return answers


def gaps(data: Any) -> tuple[Any, list[Any]]:
    """The data with a tenth of the values missing, also as rows of JSON."""
    found = np.where(np.random.default_rng(7).random(data.shape) < 0.1, np.nan, data)
    return found, [[None if np.isnan(each) else each for each in row] for row in found.tolist()]


@pytest.mark.catboost
@pytest.mark.parametrize("loss", ["RMSE", "Poisson", "MultiRMSE", "Quantile:alpha=0.9"])
def test_a_regressor_answers_its_values_with_and_without_gaps(round_trip: RoundTrip, catboost: Any, loss: str) -> None:
    data, rows = gaps(DIABETES.data)
    target = np.column_stack([DIABETES.target, data[:, 0] > 50]) if loss == "MultiRMSE" else DIABETES.target
    fitted = catboost.CatBoostRegressor(loss_function=loss, **QUIET).fit(data, target)
    signature = {"kind": "vector", "dtype": "float", "nullable": True, "shape": [10]}
    version = round_trip(fitted, runtime="catboost", signature=signature)
    assert alone_and_together(version, rows) == fitted.predict(data).tolist()


@pytest.mark.catboost
@pytest.mark.parametrize("of", ["two classes", "three classes", "names"])
def test_a_classifier_answers_labels_and_probabilities_by_class(round_trip: RoundTrip, catboost: Any, of: str) -> None:
    targets = {"two classes": WINE.target == 1, "three classes": WINE.target, "names": WINE.target_names[WINE.target]}
    target = targets[of]
    fitted = catboost.CatBoostClassifier(**QUIET).fit(WINE.data, target)
    assert runtimes.guess(fitted) == "catboost"
    labels = alone_and_together(round_trip(fitted, **NAMED), ROWS)
    assert labels == np.ravel(fitted.predict(WINE.data)).tolist()
    answers = alone_and_together(round_trip(fitted, **NAMED, runtime_options={"method": "predict_proba"}), ROWS)
    assert [each["label"] for each in answers] == labels
    probabilities = [list(each["probabilities"].values()) for each in answers]
    assert probabilities == fitted.predict_proba(WINE.data).tolist()
    raw = round_trip(fitted, **NAMED, runtime_options={"method": "raw"}).predict(ROWS)
    assert raw == fitted.predict(WINE.data, prediction_type="RawFormulaVal").tolist()


@pytest.mark.catboost
def test_any_number_of_labels_and_a_threshold_of_the_model_are_the_librarys(
    round_trip: RoundTrip, catboost: Any
) -> None:
    targets = (WINE.data[:, :3] > WINE.data[:, :3].mean(axis=0)).astype(int)
    several = catboost.CatBoostClassifier(loss_function="MultiLogloss", **QUIET).fit(WINE.data, targets)
    assert round_trip(several, **NAMED).predict(ROWS) == several.predict(WINE.data).tolist()
    answers = round_trip(several, **NAMED, runtime_options={"method": "predict_proba"}).predict(ROWS)
    assert [list(each["probabilities"].values()) for each in answers] == several.predict_proba(WINE.data).tolist()
    assert "label" not in answers[0]
    eager = catboost.CatBoostClassifier(**QUIET).fit(WINE.data, WINE.target == 1)
    eager.set_probability_threshold(0.1)
    assert round_trip(eager, **NAMED).predict(ROWS) == eager.predict(WINE.data).tolist()


@pytest.mark.catboost
def test_categories_are_texts_and_whole_numbers(round_trip: RoundTrip, catboost: Any) -> None:
    frame = pd.DataFrame(WINE.data[:, :2], columns=["malic", "ash"])
    frame["colour"] = np.array(["red", "white", "rosé"])[np.arange(len(frame)) % 3]
    frame["rank"] = np.arange(len(frame)) % 4
    frame.loc[::9, "ash"] = None
    fitted = catboost.CatBoostClassifier(cat_features=["colour", "rank"], **QUIET).fit(frame, WINE.target)
    options = {"method": "predict_proba"}
    example = frame[["rank", "colour", "ash", "malic"]]
    model = round_trip(fitted, runtime="catboost", input_example=example, runtime_options=options)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    answers = alone_and_together(model, rows)
    assert [list(each["probabilities"].values()) for each in answers] == fitted.predict_proba(frame).tolist()
    assert model.predict([{**rows[0], "rank": float(rows[0]["rank"])}]) == answers[:1]
    for wrong, words in ((None, "not null"), (0.5, "not a fraction")):
        with pytest.raises(InputUnsuitable, match=f"Feature 4 of the model is a category.*{words}"):
            model.predict([{**rows[0], "rank": wrong}])


@pytest.mark.catboost
def test_a_signature_or_an_option_that_does_not_fit_is_refused(round_trip: RoundTrip, catboost: Any) -> None:
    fitted = catboost.CatBoostRegressor(**QUIET).fit(WINE.data, WINE.target)
    with pytest.raises(ModelLoadFailed, match="has 13 features; an input of the signature has 2 values"):
        round_trip(fitted, runtime="catboost", input_example=[1.0, 2.0])
    with pytest.raises(ModelLoadFailed, match=r"has no classes \(its objective is RMSE\)"):
        round_trip(fitted, **NAMED, runtime_options={"method": "predict_proba"})
    with pytest.raises(RuntimeOptionsInvalid, match=r"runtime_options\.classes"):
        round_trip(fitted, **NAMED, runtime_options={"classes": ["a", "b"]})


@pytest.mark.catboost
def test_a_file_that_is_another_thing_or_cut_off_is_refused(round_trip: RoundTrip, catboost: Any) -> None:
    fitted = catboost.CatBoostClassifier(**QUIET).fit(WINE.data, WINE.target)
    version = round_trip.register(fitted, **NAMED)
    path = round_trip.cache.fetch(version.artifact_sha256)
    whole = path.read_bytes()
    for content in (b"", b"{}", pickle.dumps(fitted)):
        path.write_bytes(content)
        with pytest.raises(ModelLoadFailed, match="The file is no CatBoost model"):
            round_trip.load(version, path)
    for length in (4, 8, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelLoadFailed, match="The file is a damaged model of CatBoost"):
            round_trip.load(version, path)
