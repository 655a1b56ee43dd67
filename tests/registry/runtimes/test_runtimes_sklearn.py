from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from registry import runtimes
from registry.errors import ModelLoadFailed, RuntimeOptionsInvalid
from tests.registry.conftest import RoundTrip

WINE = load_wine()
IRIS = load_iris()
DIABETES = load_diabetes()
SPECIES = IRIS.target_names[IRIS.target].astype(object)


@pytest.fixture(scope="module")
def wine_model() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(WINE.data, WINE.target)


def ask(round_trip: RoundTrip, model: Any, rows: list[Any], method: str | None = None, **named: Any) -> list[Any]:
    options = {} if method is None else {"method": method}
    example = named.pop("input_example", rows[0])
    return round_trip(model, input_example=example, runtime_options=options, **named).predict(rows)


def test_a_pipeline_answers_its_own_predictions(round_trip: RoundTrip, wine_model: Any) -> None:
    assert ask(round_trip, wine_model, WINE.data.tolist()) == wine_model.predict(WINE.data).tolist()


def test_a_regressor_answers_numbers(round_trip: RoundTrip) -> None:
    model = LinearRegression().fit(DIABETES.data, DIABETES.target)
    answers = ask(round_trip, model, DIABETES.data[:50].tolist())
    assert answers == model.predict(DIABETES.data[:50]).tolist()
    assert {type(answer) for answer in answers} == {float}


def test_labels_of_text_are_text(round_trip: RoundTrip) -> None:
    model = GaussianNB().fit(IRIS.data, SPECIES.astype(str))
    answers = ask(round_trip, model, IRIS.data.tolist())
    assert set(answers) == {"setosa", "versicolor", "virginica"}
    assert answers == model.predict(IRIS.data).tolist()


def test_probabilities_come_with_the_label_that_predict_gives(round_trip: RoundTrip) -> None:
    model = GaussianNB().fit(IRIS.data, SPECIES)
    answers = ask(round_trip, model, IRIS.data.tolist(), "predict_proba")
    expected = model.predict_proba(IRIS.data)
    assert [answer["label"] for answer in answers] == model.predict(IRIS.data).tolist()
    assert [list(answer["probabilities"]) for answer in answers] == [model.classes_.tolist()] * 150
    assert [list(answer["probabilities"].values()) for answer in answers] == expected.tolist()


@pytest.mark.parametrize("labels", [[0, 1], [False, True], [-1.0, 2.0]], ids=str)
def test_labels_keep_their_type_and_name_their_probabilities_as_text(round_trip: RoundTrip, labels: list[Any]) -> None:
    model = DecisionTreeClassifier().fit([[0.0], [1.0]], labels)
    (answer,) = ask(round_trip, model, [[1.0]], "predict_proba")
    names = [str(label).lower() for label in labels]
    assert answer == {"label": labels[1], "probabilities": {names[0]: 0.0, names[1]: 1.0}}
    assert type(answer["label"]) is type(labels[1])


def test_scores_of_two_classes_are_one_number(round_trip: RoundTrip) -> None:
    model = RidgeClassifier().fit([[0.0], [1.0]], ["no", "yes"])
    rows = [[0.0], [0.2], [0.9]]
    answers = ask(round_trip, model, rows, "decision_function")
    assert [answer["label"] for answer in answers] == model.predict(rows).tolist() == ["no", "no", "yes"]
    assert [answer["score"] for answer in answers] == model.decision_function(rows).tolist()


def test_scores_of_several_classes_are_named(round_trip: RoundTrip) -> None:
    model = LogisticRegression(max_iter=500).fit(IRIS.data, SPECIES)
    answers = ask(round_trip, model, IRIS.data.tolist(), "decision_function")
    assert [answer["label"] for answer in answers] == model.predict(IRIS.data).tolist()
    assert [list(each["scores"].values()) for each in answers] == model.decision_function(IRIS.data).tolist()
    assert list(answers[0]["scores"]) == ["setosa", "versicolor", "virginica"]


@pytest.mark.parametrize("class_count", [3, 4])
@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "wrapped"])
def test_scores_of_pairs_of_classes_are_a_list_beside_the_label(
    round_trip: RoundTrip, class_count: int, wrapped: bool
) -> None:
    labels = IRIS.target + (IRIS.data[:, 0] > 7) * (class_count - 3)
    model: Any = SVC(decision_function_shape="ovo")
    if wrapped:
        model = make_pipeline(GridSearchCV(make_pipeline(StandardScaler(), model), {"svc__C": [1.0]}, cv=2))
    model.fit(IRIS.data, labels)
    answers = ask(round_trip, model, IRIS.data[:3].tolist(), "decision_function")
    assert [each["scores"] for each in answers] == model.decision_function(IRIS.data[:3]).tolist()
    assert [each["label"] for each in answers] == model.predict(IRIS.data[:3]).tolist()
    assert len(answers[0]["scores"]) == class_count * (class_count - 1) / 2


def test_scores_of_a_model_without_classes_are_numbers(round_trip: RoundTrip) -> None:
    model = IsolationForest(n_estimators=5, random_state=0).fit(IRIS.data)
    rows = IRIS.data[:20].tolist()
    assert ask(round_trip, model, rows, "decision_function") == model.decision_function(rows).tolist()


def test_several_outputs_are_a_list_for_each_row(round_trip: RoundTrip) -> None:
    targets = np.column_stack([DIABETES.target, DIABETES.data[:, 0]])
    model = DecisionTreeRegressor(max_depth=3, random_state=0).fit(DIABETES.data, targets)
    assert ask(round_trip, model, DIABETES.data[:9].tolist()) == model.predict(DIABETES.data[:9]).tolist()


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(n_estimators=5, random_state=0),
        MultiOutputClassifier(DecisionTreeClassifier(max_depth=2, random_state=0)),
    ],
    ids=["forest", "multi"],
)
def test_several_outputs_have_a_label_and_probabilities_each(round_trip: RoundTrip, estimator: Any) -> None:
    labels = np.column_stack([SPECIES.astype(str), np.where(IRIS.data[:, 0] > 5.8, "long", "short")])
    model = estimator.fit(IRIS.data, labels)
    answers = ask(round_trip, model, IRIS.data.tolist(), "predict_proba")
    assert [[each["label"] for each in answer] for answer in answers] == model.predict(IRIS.data).tolist()
    species, lengths = model.predict_proba(IRIS.data)
    assert [list(answer[0]["probabilities"].values()) for answer in answers] == species.tolist()
    assert [list(answer[1]["probabilities"].values()) for answer in answers] == lengths.tolist()
    assert list(answers[0][1]["probabilities"]) == ["long", "short"]


@pytest.mark.parametrize(
    ("estimator", "method", "word"),
    [
        (OneVsRestClassifier(LogisticRegression()), "predict_proba", "probabilities"),
        (OneVsRestClassifier(LogisticRegression()), "decision_function", "scores"),
        (MLPClassifier((3,), max_iter=5, random_state=0), "predict_proba", "probabilities"),
        (RidgeClassifier(), "decision_function", "scores"),
    ],
    ids=["rest-probabilities", "rest-scores", "network", "ridge"],
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_of_any_number_of_labels_none_is_the_label(
    round_trip: RoundTrip, estimator: Any, method: str, word: str
) -> None:
    labels = np.column_stack([IRIS.target == 0, IRIS.target > 0, IRIS.data[:, 0] > 5.8]).astype(int)
    model = make_pipeline(StandardScaler(), estimator).fit(IRIS.data, labels)
    answers = ask(round_trip, model, IRIS.data.tolist(), method)
    expected = getattr(model, method)(IRIS.data).tolist()
    assert answers == [{word: dict(zip("012", row, strict=True))} for row in expected]


def test_a_batch_equals_its_rows(round_trip: RoundTrip, wine_model: Any) -> None:
    rows = WINE.data.tolist()
    loaded = round_trip(wine_model, input_example=rows[0], runtime_options={"method": "predict_proba"})
    singly = [loaded.predict([row])[0]["label"] for row in rows]
    assert [each["label"] for each in loaded.predict(rows)] == singly


@pytest.mark.parametrize(
    ("model", "method"),
    [(LinearRegression(), "predict_proba"), (GaussianNB(), "decision_function"), (StandardScaler(), "predict")],
)
def test_a_method_that_an_estimator_lacks_is_named(round_trip: RoundTrip, model: Any, method: str) -> None:
    model.fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(ModelLoadFailed, match=rf"a {type(model).__name__}, has no method {method}\(\)"):
        ask(round_trip, model, [[1.0]], method)


def test_only_three_methods_can_be_asked_for(round_trip: RoundTrip) -> None:
    with pytest.raises(RuntimeOptionsInvalid, match=r"runtime_options\.method"):
        ask(round_trip, LinearRegression().fit([[0.0]], [1.0]), [[1.0]], "fit")


def test_an_example_of_the_wrong_length_fails_at_once(round_trip: RoundTrip, wine_model: Any) -> None:
    with pytest.raises(ModelLoadFailed, match="fails on its example: ValueError: X has 2 features"):
        round_trip.register(wine_model, input_example=[1.0, 2.0])


def test_what_is_no_estimator_fails_to_load(round_trip: RoundTrip) -> None:
    with pytest.raises(ModelLoadFailed, match=r"a dict, has no method predict\(\)"):
        round_trip.register({}, runtime="sklearn", input_example=[1.0])


def test_a_damaged_file_fails_to_load(round_trip: RoundTrip, wine_model: Any) -> None:
    version = round_trip.register(wine_model, input_example=WINE.data[0].tolist())
    path = round_trip.cache.fetch(version.artifact_sha256)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelLoadFailed, match="The model can't be loaded: "):
        runtimes.load("sklearn", path, {}, version.signature)
