"""What is special about LightGBM: a text without class names, the best iteration, integers as categories."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.model_selection import train_test_split

from registry.errors import ModelLoadFailed
from tests.registry.conftest import RoundTrip

lightgbm: Any = pytest.importorskip("lightgbm")
DIABETES = load_diabetes()
WINE = load_wine()
ROWS = WINE.data.tolist()
NAMED: dict[str, Any] = {"input_example": ROWS[0], "runtime": "lightgbm"}
QUIET: dict[str, Any] = {"verbose": -1, "num_threads": 1}


def booster(objective: Any, target: Any, data: Any = WINE.data, **named: Any) -> Any:
    categorical = named.pop("categorical_feature", "auto")
    return lightgbm.train(
        {"objective": objective, **QUIET, **named}, lightgbm.Dataset(data, target, categorical_feature=categorical), 5
    )


@pytest.mark.parametrize("objective", ["regression", "poisson", "cross_entropy", "quantile", "lambdarank"])
def test_a_model_without_classes_answers_what_predict_answers(round_trip: RoundTrip, objective: str) -> None:
    data = lightgbm.Dataset(WINE.data, (WINE.target == 1).astype(int), group=[len(ROWS)])
    model = lightgbm.train({"objective": objective, **QUIET}, data, 5)
    assert round_trip(model, **NAMED).predict(ROWS) == model.predict(WINE.data).tolist()


def test_an_objective_of_ones_own_answers_raw_values(round_trip: RoundTrip) -> None:
    model = booster(lambda answers, data: (answers - data.get_label(), np.ones_like(answers)), WINE.data[:, 0])
    assert round_trip(model, **NAMED).predict(ROWS) == model.predict(WINE.data).tolist()
    with pytest.raises(ModelLoadFailed, match="its objective is a function of its own"):
        round_trip(model, **NAMED, runtime_options={"method": "predict_proba"})


def test_one_against_all_answers_the_label_with_the_highest_probability(round_trip: RoundTrip) -> None:
    model = booster("multiclassova", WINE.target, num_class=3)
    probabilities = model.predict(WINE.data)
    answers = round_trip(model, **NAMED, runtime_options={"method": "predict_proba"}).predict(ROWS)
    assert [list(each["probabilities"].values()) for each in answers] == probabilities.tolist()
    assert [each["label"] for each in answers] == probabilities.argmax(axis=1).tolist()


def test_classes_that_the_text_does_not_contain_become_an_option(round_trip: RoundTrip) -> None:
    names = WINE.target_names[WINE.target]
    fitted = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(WINE.data, names)
    with pytest.raises(ModelLoadFailed, match=r'"classes": \[.class_0., .class_1., .class_2.\]'):
        round_trip(fitted, **NAMED)
    model = round_trip(fitted.booster_, **NAMED, runtime_options={"classes": fitted.classes_.tolist()})
    assert model.predict(ROWS) == fitted.predict(WINE.data).tolist()


def test_the_text_ends_with_the_best_iteration(round_trip: RoundTrip) -> None:
    train, held, target, held_target = train_test_split(DIABETES.data, DIABETES.target, random_state=0)
    fitted = lightgbm.LGBMRegressor(n_estimators=80, learning_rate=0.5, verbose=-1, n_jobs=1)
    stopping = [lightgbm.early_stopping(5, verbose=False)]
    fitted.fit(train, target, eval_X=held, eval_y=held_target, callbacks=stopping)
    assert fitted.best_iteration_ < 80
    named: dict[str, Any] = {"input_example": held[0].tolist(), "runtime": "lightgbm"}
    assert round_trip(fitted, **named).predict(held.tolist()) == fitted.predict(held).tolist()


def test_integers_as_categories_are_taken_as_they_are(round_trip: RoundTrip) -> None:
    data = WINE.data[:, :3].copy()
    data[:, 0] = np.floor(data[:, 0])
    model = booster("regression", WINE.target, data, categorical_feature=[0], min_data_in_leaf=2)
    expected = model.predict(data).tolist()
    assert round_trip(model, runtime="lightgbm", input_example=data[0].tolist()).predict(data.tolist()) == expected
    kinds = sorted({int(each) for each in data[:, 0]})
    fields = {"kind": {"dtype": "int", "categories": kinds}, "b": {"dtype": "float"}, "c": {"dtype": "float"}}
    named = round_trip(model, runtime="lightgbm", signature={"kind": "named", "fields": fields})
    assert named.predict([{"kind": int(a), "b": b, "c": c} for a, b, c in data.tolist()]) == expected


def test_lines_that_end_as_those_of_windows_are_read(round_trip: RoundTrip) -> None:
    model = booster("regression", WINE.target)
    text = model.model_to_string().replace("\n", "\r\n").encode()
    assert round_trip(text, **NAMED).predict(ROWS) == model.predict(WINE.data).tolist()
