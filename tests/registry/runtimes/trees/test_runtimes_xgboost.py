"""What is special about XGBoost: two formats, two interfaces, many objectives, 32-bit floats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.model_selection import train_test_split

from registry.errors import InputUnsuitable, ModelLoadFailed
from tests.registry.conftest import RoundTrip

xgboost: Any = pytest.importorskip("xgboost")
DIABETES = load_diabetes()
WINE = load_wine()
ROWS = WINE.data.tolist()
NAMED: dict[str, Any] = {"input_example": ROWS[0], "runtime": "xgboost"}


def booster(objective: str, target: Any, trees: int = 4, **named: Any) -> Any:
    parameters = {"objective": objective, "max_depth": 3, "nthread": 1, **named}
    return xgboost.train(parameters, xgboost.DMatrix(WINE.data, target), trees)


def predicted(model: Any, **named: Any) -> list[Any]:
    answers: list[Any] = model.predict(xgboost.DMatrix(WINE.data), **named).tolist()
    return answers


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_a_file_of_either_format_is_served_as_it_is(round_trip: RoundTrip, tmp_path: Path, suffix: str) -> None:
    fitted = xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(WINE.data, WINE.target)
    fitted.save_model(tmp_path / f"model.{suffix}")
    content = (tmp_path / f"model.{suffix}").read_bytes()
    assert round_trip(content, **NAMED).predict(ROWS) == fitted.predict(WINE.data).tolist()


@pytest.mark.parametrize(
    "objective",
    ["reg:squarederror", "reg:absoluteerror", "count:poisson", "reg:gamma", "binary:logitraw", "rank:pairwise"],
)
def test_a_model_without_classes_answers_what_predict_answers(round_trip: RoundTrip, objective: str) -> None:
    target = WINE.target == 1 if objective.startswith(("binary", "rank")) else 1 + WINE.data[:, 0]
    model = booster(objective, target)
    assert round_trip(model, **NAMED).predict(ROWS) == predicted(model)


@pytest.mark.filterwarnings("ignore::UserWarning")  # XGBoost advises against it
@pytest.mark.parametrize("kind", ["dart", "gblinear"])
def test_other_boosters_than_trees_answer_alike(round_trip: RoundTrip, kind: str) -> None:
    model = booster("reg:squarederror", WINE.data[:, 0], booster=kind)
    assert round_trip(model, **NAMED).predict(ROWS) == predicted(model)
    raw = round_trip(model, **NAMED, runtime_options={"method": "raw"})
    assert raw.predict(ROWS) == predicted(model, output_margin=True)


def test_softmax_and_hinge_answer_labels(round_trip: RoundTrip) -> None:
    softmax = booster("multi:softmax", WINE.target, num_class=3)
    assert round_trip(softmax, **NAMED).predict(ROWS) == predicted(softmax)
    softprob = booster("multi:softprob", WINE.target, num_class=3)
    answers = round_trip(softmax, **NAMED, runtime_options={"method": "predict_proba"}).predict(ROWS)
    assert [list(each["probabilities"].values()) for each in answers] == predicted(softprob)
    hinge = booster("binary:hinge", WINE.target == 1)
    assert round_trip(hinge, **NAMED).predict(ROWS) == predicted(hinge)


def test_several_targets_are_a_list(round_trip: RoundTrip) -> None:
    model = booster("reg:squarederror", WINE.data[:, :2])
    assert round_trip(model, **NAMED).predict(ROWS) == predicted(model)


def test_any_number_of_labels_is_a_list_of_zeros_and_ones(round_trip: RoundTrip) -> None:
    targets = (WINE.data[:, :3] > WINE.data[:, :3].mean(axis=0)).astype(int)
    fitted = xgboost.XGBClassifier(n_estimators=4, n_jobs=1).fit(WINE.data, targets)
    assert round_trip(fitted, **NAMED).predict(ROWS) == fitted.predict(WINE.data).tolist()
    options = {"method": "predict_proba", "classes": ["strong", "sour", "ash"]}
    answers = round_trip(fitted, **NAMED, runtime_options=options).predict(ROWS)
    assert list(answers[0]["probabilities"]) == ["strong", "sour", "ash"]
    assert [list(each["probabilities"].values()) for each in answers] == fitted.predict_proba(WINE.data).tolist()


def test_an_estimator_predicts_up_to_its_best_iteration_and_a_booster_with_all(round_trip: RoundTrip) -> None:
    train, held, target, held_target = train_test_split(DIABETES.data, DIABETES.target, random_state=0)
    fitted = xgboost.XGBRegressor(n_estimators=60, early_stopping_rounds=20, learning_rate=0.5, n_jobs=1)
    fitted.fit(train, target, eval_set=[(held, held_target)], verbose=False)
    assert fitted.best_iteration + 1 < fitted.get_booster().num_boosted_rounds()
    named: dict[str, Any] = {"input_example": held[0].tolist(), "runtime": "xgboost"}
    best = round_trip(fitted, **named).predict(held.tolist())
    assert best == fitted.predict(held).tolist()
    whole = round_trip(fitted.get_booster(), **named).predict(held.tolist())
    assert whole == fitted.get_booster().predict(xgboost.DMatrix(held)).tolist() != best


def test_a_number_that_means_missing_is_an_option(round_trip: RoundTrip) -> None:
    gaps = np.random.default_rng(3).random(WINE.data.shape) < 0.2
    data = np.where(gaps, -1.0, WINE.data)
    fitted = xgboost.XGBClassifier(n_estimators=4, n_jobs=1, missing=-1.0).fit(data, WINE.target)
    with pytest.raises(ModelLoadFailed, match=r'with the runtime option "missing": -1\.0'):
        round_trip(fitted, **NAMED)
    options = {"missing": -1.0, "method": "predict_proba"}
    model = round_trip(fitted.get_booster(), **NAMED, runtime_options=options)
    answers = model.predict(data.tolist())
    assert [list(each["probabilities"].values()) for each in answers] == fitted.predict_proba(data).tolist()
    nulls = [[None if each == -1 else each for each in row] for row in data.tolist()]
    assert model.predict(nulls) == answers


def test_what_a_32_bit_float_can_not_hold_is_refused(round_trip: RoundTrip) -> None:
    model = round_trip(booster("reg:squarederror", WINE.target), **NAMED)
    with pytest.raises(InputUnsuitable, match="32-bit floats"):
        model.predict([[1e39] * 13])


def test_a_damaged_part_in_the_middle_is_named(round_trip: RoundTrip) -> None:
    version = round_trip.register(booster("reg:squarederror", WINE.target), **NAMED)
    path = round_trip.cache.fetch(version.artifact_sha256)
    path.write_bytes(path.read_bytes().replace(b"objective", b"abjective"))
    with pytest.raises(ModelLoadFailed, match=r"The file is a damaged model of XGBoost: \w"):
        round_trip.load(version, path)
