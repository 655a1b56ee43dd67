"""Models in the own formats of XGBoost and LightGBM answer as the libraries' estimators do, in every batch."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from registry import runtimes
from registry.errors import InputUnsuitable, ModelLoadFailed, RuntimeOptionsInvalid, RuntimeUnavailable
from tests.registry import toys
from tests.registry.conftest import RoundTrip

lightgbm: Any = pytest.importorskip("lightgbm")
xgboost: Any = pytest.importorskip("xgboost")
Rows = list[Any]
FEW = {"n_estimators": 8, "max_depth": 3, "random_state": 0, "n_jobs": 1}
LIBRARIES = ["xgboost", "lightgbm"]
CLASSIFIERS = {
    "xgboost": lambda **named: xgboost.XGBClassifier(**FEW, **named),
    "lightgbm": lambda **named: lightgbm.LGBMClassifier(verbose=-1, **FEW, **named),
}
REGRESSORS = {
    "xgboost": lambda **named: xgboost.XGBRegressor(**FEW, **named),
    "lightgbm": lambda **named: lightgbm.LGBMRegressor(verbose=-1, **FEW, **named),
}


def with_gaps(data: Any) -> Any:
    """The data with a tenth of the values missing."""
    gaps = np.random.default_rng(7).random(data.shape) < 0.1
    return np.where(gaps, np.nan, data)


def as_json(data: Any) -> Rows:
    return [[None if np.isnan(each) else each for each in row] for row in data.tolist()]


DIABETES = load_diabetes(scaled=False)
WINE = load_wine()
CANCER = load_breast_cancer()
SETS = {"two classes": CANCER, "three classes": WINE}
VECTOR = {"kind": "vector", "dtype": "float", "nullable": True}


def signature_of(data: Any) -> dict[str, Any]:
    return {**VECTOR, "shape": [data.shape[1]]}


def alone_and_together(model: Any, rows: Rows) -> Rows:
    """The answers of one batch, which each row gets alone, too."""
    answers: Rows = model.predict(rows)
    assert [model.predict([row])[0] for row in rows[:20]] == answers[:20]
    return answers


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_regressor_answers_its_values_with_and_without_gaps(round_trip: RoundTrip, library: str) -> None:
    data = with_gaps(DIABETES.data)
    fitted = REGRESSORS[library]().fit(data, DIABETES.target)
    model = round_trip(fitted, runtime=library, signature=signature_of(data))
    assert alone_and_together(model, as_json(data)) == fitted.predict(data).tolist()


@pytest.mark.parametrize("of", SETS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_classifier_answers_labels_and_probabilities_by_class(round_trip: RoundTrip, library: str, of: str) -> None:
    data, target = with_gaps(SETS[of].data), SETS[of].target
    fitted = CLASSIFIERS[library]().fit(data, target)
    named: dict[str, Any] = {"runtime": library, "signature": signature_of(data)}
    labels = alone_and_together(round_trip(fitted, **named), as_json(data))
    assert labels == fitted.predict(data).tolist()
    options = {"method": "predict_proba"}
    answers = alone_and_together(round_trip(fitted, **named, runtime_options=options), as_json(data))
    assert [answer["label"] for answer in answers] == labels
    probabilities = [list(answer["probabilities"].values()) for answer in answers]
    assert probabilities == fitted.predict_proba(data).tolist()
    assert list(answers[0]["probabilities"]) == [str(each) for each in range(target.max() + 1)]
    # The same estimator as a pickle answers alike.
    pickled = round_trip(fitted, runtime_options=options, signature=signature_of(data))
    assert pickled.predict(as_json(data)) == answers


@pytest.mark.parametrize("library", LIBRARIES)
def test_classes_have_the_names_of_the_options(round_trip: RoundTrip, library: str) -> None:
    fitted = CLASSIFIERS[library]().fit(WINE.data, WINE.target)
    names = WINE.target_names.tolist()
    options = {"classes": names, "method": "predict_proba"}
    named: dict[str, Any] = {"input_example": WINE.data[0].tolist(), "runtime": library}
    answers = round_trip(fitted, **named, runtime_options=options).predict(WINE.data.tolist())
    assert [answer["label"] for answer in answers] == WINE.target_names[fitted.predict(WINE.data)].tolist()
    assert list(answers[0]["probabilities"]) == names
    labels = round_trip(fitted, **named, runtime_options={"classes": names}).predict(WINE.data.tolist())
    assert labels == [answer["label"] for answer in answers]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": ["a", "b"]}, "has 3 classes; the runtime option `classes` names 2"),
        ({"classes": [1, "1", 2]}, "two fields whose names become the same text, '1'"),
    ],
)
@pytest.mark.parametrize("library", LIBRARIES)
def test_names_of_classes_that_do_not_fit_are_refused(
    round_trip: RoundTrip, library: str, options: dict[str, Any], words: str
) -> None:
    fitted = CLASSIFIERS[library]().fit(WINE.data, WINE.target)
    with pytest.raises(ModelLoadFailed, match=words):
        round_trip(fitted, input_example=WINE.data[0].tolist(), runtime=library, runtime_options=options)


@pytest.mark.parametrize("options", [{"method": "predict_proba"}, {"classes": ["low", "high"]}])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_regressor_has_neither_classes_nor_probabilities(
    round_trip: RoundTrip, library: str, options: dict[str, Any]
) -> None:
    fitted = REGRESSORS[library]().fit(DIABETES.data, DIABETES.target)
    with pytest.raises(ModelLoadFailed, match=r"The model has no classes \(its objective is reg"):
        round_trip(fitted, input_example=DIABETES.data[0].tolist(), runtime=library, runtime_options=options)


@pytest.mark.parametrize(
    ("library", "margins"),
    [
        ("xgboost", lambda fitted, data: fitted.predict(data, output_margin=True)),
        ("lightgbm", lambda fitted, data: fitted.predict(data, raw_score=True)),
    ],
)
def test_raw_is_the_sum_of_the_trees(round_trip: RoundTrip, library: str, margins: Callable[[Any, Any], Any]) -> None:
    for of in SETS.values():
        fitted = CLASSIFIERS[library]().fit(of.data, of.target)
        named: dict[str, Any] = {"input_example": of.data[0].tolist(), "runtime_options": {"method": "raw"}}
        answers = round_trip(fitted, runtime=library, **named).predict(of.data.tolist())
        assert answers == margins(fitted, of.data).tolist()


@pytest.mark.parametrize("library", LIBRARIES)
def test_fields_are_put_into_the_order_of_the_fit(round_trip: RoundTrip, library: str) -> None:
    frame = pd.DataFrame(with_gaps(DIABETES.data), columns=[f"the {name}" for name in DIABETES.feature_names])
    fitted = REGRESSORS[library]().fit(frame, DIABETES.target)
    model = round_trip(fitted, runtime=library, input_example=frame[sorted(frame.columns)])
    rows = [dict(zip(frame.columns, row, strict=True)) for row in as_json(frame.to_numpy())]
    assert alone_and_together(model, rows) == fitted.predict(frame).tolist()
    with pytest.raises(ModelLoadFailed, match="the signature has no field"):
        round_trip(fitted, runtime=library, input_example=frame.drop(columns="the bmi"))


def colours() -> tuple[pd.DataFrame, Any]:
    """Wines with their alcohol in words, in an order that is not that of the alphabet."""
    frame = pd.DataFrame(WINE.data[:, :4], columns=["alcohol", "malic", "ash", "alcalinity"])
    words = np.array(["weak", "strong", "medium"])[np.digitize(frame["alcohol"], [12.5, 13.5])]
    frame["alcohol"] = pd.Categorical(words, categories=["weak", "strong", "medium"])
    frame.loc[::9, "alcohol"] = None
    return frame, WINE.target


@pytest.mark.parametrize("library", LIBRARIES)
def test_categories_have_the_codes_of_the_fit(round_trip: RoundTrip, library: str) -> None:
    frame, target = colours()
    named = {"enable_categorical": True} if library == "xgboost" else {"min_child_samples": 2}
    fitted = CLASSIFIERS[library](**named).fit(frame, target)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    options = {"method": "predict_proba"}
    model = round_trip(fitted, runtime=library, input_example=frame, runtime_options=options)
    answers = alone_and_together(model, rows)
    assert [list(each["probabilities"].values()) for each in answers] == fitted.predict_proba(frame).tolist()
    other_order = frame.assign(alcohol=frame["alcohol"].cat.reorder_categories(["medium", "strong", "weak"]))
    again = round_trip(fitted, runtime=library, input_example=other_order, runtime_options=options)
    assert again.predict(rows) == answers
    plain = {"kind": "named", "fields": {name: {"dtype": "float"} for name in frame.columns}}
    with pytest.raises(ModelLoadFailed, match="Name their categories"):
        round_trip(fitted, runtime=library, signature=plain)


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ({"kind": "vector", "dtype": "float", "shape": [9]}, "has 10 features; an input of the signature has 9 values"),
        ({"kind": "scalar", "dtype": "float"}, "has 10 features; an input of the signature has 1 value"),
        ({"kind": "tensor", "dtype": "float", "shape": [10, 1]}, "the signature has a tensor"),
        ({"kind": "vector", "dtype": "str", "shape": [10]}, "an input of the signature is text"),
        ({"kind": "named", "fields": {"a": {"dtype": "float"}}}, "has 10 features; the signature has 1 fields"),
    ],
)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_signature_that_the_model_can_not_take_is_refused(
    round_trip: RoundTrip, library: str, signature: dict[str, Any], words: str
) -> None:
    fitted = REGRESSORS[library]().fit(DIABETES.data, DIABETES.target)
    with pytest.raises(ModelLoadFailed, match=words):
        round_trip(fitted, runtime=library, signature=signature)


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_input_of_another_length_is_refused(round_trip: RoundTrip, library: str) -> None:
    fitted = REGRESSORS[library]().fit(DIABETES.data, DIABETES.target)
    model = round_trip(fitted, runtime=library, signature={"kind": "vector", "dtype": "float"})
    assert model.predict([DIABETES.data[0].tolist()]) == fitted.predict(DIABETES.data[:1]).tolist()
    with pytest.raises(InputUnsuitable, match="has 10 features; this input has 2"):
        model.predict([[1.0, 2.0]])


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_file_that_is_another_thing_or_cut_off_is_refused(round_trip: RoundTrip, library: str) -> None:
    fitted = CLASSIFIERS[library]().fit(WINE.data, WINE.target)
    example = WINE.data[0].tolist()
    version = round_trip.register(fitted, runtime=library, input_example=example)
    whole = round_trip.cache.fetch(version.artifact_sha256).read_bytes()
    path = round_trip.cache.fetch(version.artifact_sha256)
    bomb = pickle.dumps(toys.Unloadable())  # it fails if it is loaded
    for content in (b"", b"{}", bomb, pickle.dumps(fitted), b"PK\x05\x06" + bytes(18), b"binf" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(ModelLoadFailed, match=r"The file is no (XGBoost|LightGBM) model"):
            round_trip.load(version, path)
    for part in (0.02, 0.1, 0.4):
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(ModelLoadFailed, match="The file is a damaged"):
            round_trip.load(version, path)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_that_is_missing_is_named_with_the_command_that_installs_it(
    round_trip: RoundTrip, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = REGRESSORS[library]().fit(DIABETES.data, DIABETES.target)
    version = round_trip.register(fitted, runtime=library, input_example=DIABETES.data[0].tolist())
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(RuntimeUnavailable, match=rf"pip install 'queuecast\[{library}\]'"):
        round_trip.load(version, round_trip.cache.fetch(version.artifact_sha256))


@pytest.mark.parametrize("options", [{"method": "fit"}, {"classes": ["one"]}, {"classes": [1.5, 2]}, {"tree": 1}])
@pytest.mark.parametrize("library", LIBRARIES)
def test_options_are_checked(round_trip: RoundTrip, library: str, options: dict[str, Any]) -> None:
    with pytest.raises(RuntimeOptionsInvalid, match=rf"runtime_options\.{next(iter(options))}"):
        round_trip.register(None, runtime=library, input_example=[1.0], runtime_options=options)


def test_boosters_are_recognised_and_estimators_stay_estimators() -> None:
    data = DIABETES.data
    xgb, lgb = REGRESSORS["xgboost"]().fit(data, DIABETES.target), REGRESSORS["lightgbm"]().fit(data, DIABETES.target)
    assert [runtimes.guess(each) for each in (xgb.get_booster(), lgb.booster_)] == ["xgboost", "lightgbm"]
    assert [runtimes.guess(each) for each in (xgb, lgb)] == ["sklearn", "sklearn"]
