"""Labels beside probabilities and scores are those of predict(), and each number has its class name."""

from __future__ import annotations

import enum
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

from registry.errors import ModelLoadFailed
from registry.runtimes.models.estimators import EstimatorModel, EstimatorOptions
from registry.signatures.signature import Signature

RARE, IS_RARE = make_classification(200, 6, weights=[0.85], flip_y=0.2, random_state=0)
FRAUD = np.where(IS_RARE, "fraud", "fine")
IRIS = load_iris()
THREE_LABELS = np.column_stack([IRIS.target == 0, IRIS.target > 0, IRIS.data[:, 0] > 5.8]).astype(int)
FIXED = FixedThresholdClassifier(LogisticRegression(), threshold=0.2, pos_label="fraud")


def serve(estimator: Any, example: list[float], method: str = "predict_proba") -> EstimatorModel:
    options = EstimatorOptions.parse({"method": method})
    return EstimatorModel(estimator, options, Signature.from_example(example))


def slow(estimator: Any) -> Any:
    """Return it as a parameter of a test that then takes a second or more."""
    return pytest.param(estimator, marks=pytest.mark.slow)


def in_place(values: Any) -> Any:
    values -= 1
    return values


@pytest.mark.parametrize(
    "estimator",
    [
        FIXED,
        slow(TunedThresholdClassifierCV(LogisticRegression(), cv=2, scoring="balanced_accuracy")),
        make_pipeline(StandardScaler(), FIXED),
        GridSearchCV(FIXED, {"threshold": [0.2]}, cv=2),
        NuSVC(nu=0.2, probability=True),
        SVC(probability=True),
        LogisticRegression(),
        slow(HistGradientBoostingClassifier(max_iter=3)),
        CalibratedClassifierCV(GaussianNB(), cv=2),
        make_pipeline(StandardScaler(), RandomForestClassifier(4, max_depth=2, random_state=0)),
        make_pipeline(FunctionTransformer(in_place, check_inverse=False), LogisticRegression()),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.filterwarnings("ignore:The `probability` parameter")
def test_the_label_is_that_of_predict_alone_and_in_a_batch(estimator: Any) -> None:
    fitted, rows = estimator.fit(RARE.copy(), FRAUD), RARE.tolist()
    expected = fitted.predict(RARE.copy()).tolist()
    methods = [each for each in ("predict_proba", "decision_function") if hasattr(fitted, each)]
    for model in (serve(fitted, rows[0], each) for each in methods):
        assert [each["label"] for each in model.predict(rows)] == expected
        assert [model.predict([row])[0]["label"] for row in rows[:40]] == expected[:40]


def test_a_lowered_threshold_differs_from_the_most_likely_class() -> None:
    fitted = FIXED.fit(RARE, FRAUD)
    answers = serve(fitted, RARE[0].tolist()).predict(RARE.tolist())
    caught = [each for each in answers if each["label"] == "fraud" and each["probabilities"]["fraud"] < 0.5]
    assert len(caught) == (fitted.predict(RARE) != fitted.estimator_.predict(RARE)).sum() > 5


@pytest.mark.parametrize("break_ties", [False, True])
def test_a_vote_of_pairs_decides_whatever_the_scores_are(break_ties: bool) -> None:
    noisy = np.random.default_rng(0).normal(size=(150, 4)) + IRIS.data
    fitted = SVC(break_ties=break_ties).fit(noisy, IRIS.target)
    answers = serve(fitted, noisy[0].tolist(), "decision_function").predict(noisy.tolist())
    assert [each["label"] for each in answers] == fitted.predict(noisy).tolist()
    assert [list(each["scores"].values()) for each in answers] == fitted.decision_function(noisy).tolist()


def test_scores_of_pairs_are_not_named_after_classes_at_the_end_of_a_stack() -> None:
    stack = StackingClassifier([("nb", GaussianNB())], SVC(decision_function_shape="ovo"), cv=2)
    fitted = stack.fit(IRIS.data, IRIS.target)
    (answer,) = serve(fitted, IRIS.data[0].tolist(), "decision_function").predict(IRIS.data[:1].tolist())
    assert answer == {"label": 0, "scores": fitted.decision_function(IRIS.data[:1])[0].tolist()}


@pytest.mark.parametrize("forest", [RandomForestClassifier, ExtraTreesClassifier])
@pytest.mark.parametrize("labels", [FRAUD, IS_RARE, np.column_stack([FRAUD, FRAUD])], ids=["text", "int", "several"])
def test_a_forest_is_asked_once_and_takes_the_first_of_equally_likely_classes(forest: Any, labels: Any) -> None:
    fitted = forest(2, random_state=3).fit(RARE[:, :2].round(), labels)
    model = serve(Pipeline([("same", FunctionTransformer()), ("forest", fitted)]), [1.0, 2.0])
    first, asked = fitted.estimators_[0], []

    def counted(*given: Any, **named: Any) -> Any:
        asked.append(given)
        return type(first).predict_proba(first, *given, **named)

    first.predict_proba = counted
    answers = model.predict(RARE[:, :2].round().tolist())
    assert len(asked) == 1
    of_each = [each if isinstance(each, list) else [each] for each in answers]
    assert any(set(each["probabilities"].values()) == {0.5} for row in of_each for each in row)
    labelled = [[each["label"] for each in row] for row in of_each]
    assert labelled == fitted.predict(RARE[:, :2].round()).reshape(len(RARE), -1).tolist()


def test_a_forest_with_a_decision_of_its_own_is_asked_for_it() -> None:
    class Cautious(RandomForestClassifier):  # type: ignore[misc]
        def predict(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
            return np.where(self.predict_proba(X)[:, 1] > 0.1, "fraud", "fine")

    fitted = Cautious(10, max_depth=2, random_state=0).fit(RARE, FRAUD)
    replaced = RandomForestClassifier(2).fit(RARE, FRAUD)
    replaced.predict = fitted.predict
    for estimator in (fitted, replaced, make_pipeline(fitted)):
        answers = serve(estimator, RARE[0].tolist()).predict(RARE.tolist())
        assert [each["label"] for each in answers] == fitted.predict(RARE).tolist()


@pytest.mark.parametrize("wrap", [lambda chain: chain, lambda chain: make_pipeline(StandardScaler(), chain)])
@pytest.mark.parametrize(("method", "word"), [("predict_proba", "probabilities"), ("decision_function", "scores")])
def test_a_chain_has_a_number_for_each_label(wrap: Any, method: str, word: str) -> None:
    fitted = wrap(ClassifierChain(LogisticRegression())).fit(IRIS.data, THREE_LABELS)
    answers = serve(fitted, IRIS.data[0].tolist(), method).predict(IRIS.data.tolist())
    expected = getattr(fitted, method)(IRIS.data).tolist()
    assert answers == [{word: dict(zip("012", row, strict=True))} for row in expected]


def test_of_a_stack_of_any_number_of_labels_no_number_is_lost() -> None:
    stack = StackingClassifier([("tree", DecisionTreeClassifier())], DecisionTreeClassifier(max_depth=2), cv=2)
    mixed = np.random.default_rng(0).permutation(150)
    fitted = stack.fit(IRIS.data[mixed], THREE_LABELS[mixed])
    answers = serve(fitted, IRIS.data[0].tolist()).predict(IRIS.data.tolist())
    assert [list(each["probabilities"].values()) for each in answers] == fitted.predict_proba(IRIS.data).tolist()


def test_each_of_several_outputs_has_its_own_threshold() -> None:
    fitted = MultiOutputClassifier(FIXED).fit(RARE, np.column_stack([FRAUD, FRAUD[::-1]]))
    answers = serve(fitted, RARE[0].tolist()).predict(RARE.tolist())
    assert [[each["label"] for each in row] for row in answers] == fitted.predict(RARE).tolist()
    first, second = fitted.predict_proba(RARE)
    assert [[list(each["probabilities"].values()) for each in row] for row in answers] == [
        list(map(list, row)) for row in zip(first.tolist(), second.tolist(), strict=True)
    ]


class Stub:
    """Answers what it was made with, whatever is asked; its predict() is one of `predict`, or lacks."""

    def __init__(self, classes: Any, probabilities: Any, predict: Any = None) -> None:
        self.classes_ = classes
        self.probabilities = probabilities
        if predict is not None:
            self.predict = lambda rows: predict[: len(rows)]

    def predict_proba(self, rows: Any) -> Any:
        return self.probabilities[: len(rows)]


TWO = np.array([[0.75, 0.25], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("predict", "labels"),
    [
        (np.array(["no", "yes"]), ["no", "yes"]),
        (["no", None], ["no", None]),
        (np.array([["yes"], ["no"]]), ["yes", "no"]),
    ],
    ids=["array", "list", "column"],
)
def test_a_label_is_what_predict_gives_for_the_row(predict: Any, labels: list[Any]) -> None:
    answers = serve(Stub(np.array(["a", "b"]), TWO, predict), [1.0]).predict([[1.0], [2.0]])
    assert answers == [
        {"label": labels[0], "probabilities": {"a": 0.75, "b": 0.25}},
        {"label": labels[1], "probabilities": {"a": 0.5, "b": 0.5}},
    ]


@pytest.mark.parametrize("predict", [None, np.array([[1, 0], [1, 1]])], ids=["no predict()", "several labels"])
def test_there_is_no_label_where_predict_gives_none(predict: Any) -> None:
    answers = serve(Stub(np.array(["a", "b"]), TWO, predict), [1.0]).predict([[1.0]])
    assert answers == [{"probabilities": {"a": 0.75, "b": 0.25}}]


def test_one_probability_a_row_has_no_name() -> None:
    assert serve(Stub(np.array([0, 1]), TWO[:, 1], [0, 1]), [1.0]).predict([[1.0]]) == [
        {"label": 0, "probability": 0.25}
    ]


@pytest.mark.parametrize("classes", [[1, "1"], ["true", True], [["a", "b"], [1.5, "1.5"]]], ids=str)
def test_classes_that_become_one_name_are_refused(classes: Any) -> None:
    arrays = [np.array(each, dtype=object) for each in classes] if isinstance(classes[0], list) else classes
    with pytest.raises(ModelLoadFailed, match=r"can't be told apart by name: .* '(1|true|1\.5)'"):
        serve(Stub(arrays, TWO), [1.0])
    assert serve(Stub(arrays, TWO, [1]), [1.0], "predict").predict([[1.0]]) == [1]


class Verdict(str, enum.Enum):  # noqa: UP042 - its text is not its value
    SPAM = "spam"
    HAM = "ham"


def test_classes_of_an_enumeration_are_answered_by_value() -> None:
    classes = np.array([Verdict.HAM, Verdict.SPAM], dtype=object)
    model = Stub(classes, TWO, classes)
    (answer,) = serve(model, [1.0]).predict([[1.0]])
    assert (answer["label"], list(answer["probabilities"])) == ("ham", ["ham", "spam"])
    assert serve(model, [1.0], "predict").predict([[1.0]]) == ["ham"]


def test_any_number_of_labels_may_come_as_a_sparse_matrix() -> None:
    sparse = import_module("scipy.sparse").csr_matrix(THREE_LABELS)
    fitted = OneVsRestClassifier(RidgeClassifier()).fit(IRIS.data, sparse)
    (answer,) = serve(fitted, IRIS.data[0].tolist(), "decision_function").predict(IRIS.data[:1].tolist())
    assert answer == {"scores": dict(zip("012", fitted.decision_function(IRIS.data[:1])[0].tolist(), strict=True))}
