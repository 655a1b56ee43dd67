from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from registry.errors import ModelLoadFailed, RuntimeOptionsInvalid
from tests.registry import toys
from tests.registry.conftest import RoundTrip
from tests.support.service.environment import REPOSITORY

IRIS = load_iris()
NAMED = {"input_example": IRIS.data[0].tolist(), "runtime": "skops"}
ROWS = IRIS.data.tolist()


@pytest.mark.slow
def test_a_pipeline_of_scikit_learn_needs_no_trust(round_trip: RoundTrip) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(IRIS.data, IRIS.target)
    version = round_trip.register(model, **NAMED)
    assert version.runtime == "skops"
    assert set(version.metadata["built_with"]) == {"python", "scikit-learn", "numpy", "skops"}
    assert round_trip(model, **NAMED).predict(ROWS) == model.predict(IRIS.data).tolist()


def test_it_answers_what_the_sklearn_runtime_answers(round_trip: RoundTrip) -> None:
    labels = IRIS.target_names[IRIS.target].astype(object)
    model = GaussianNB().fit(IRIS.data, labels)
    options = {"method": "predict_proba"}
    answers = round_trip(model, **NAMED, runtime_options=options).predict(ROWS)
    assert answers == round_trip(model, input_example=ROWS[0], runtime_options=options).predict(ROWS)
    assert answers[0]["label"] == "setosa"


def test_trees_have_to_be_trusted_because_skops_does_not(round_trip: RoundTrip) -> None:
    model = RandomForestClassifier(n_estimators=5, random_state=0).fit(IRIS.data, IRIS.target)
    with pytest.raises(ModelLoadFailed, match=r"not trusted: sklearn\.tree\._tree\.Tree\."):
        round_trip.register(model, **NAMED)
    trusting = round_trip(model, **NAMED, runtime_options={"trusted": ["sklearn.tree._tree.Tree"]})
    assert trusting.predict(ROWS) == model.predict(IRIS.data).tolist()


@pytest.fixture
def own_model() -> Any:
    return make_pipeline(toys.Centering(), LogisticRegression(max_iter=500)).fit(IRIS.data, IRIS.target)


def test_types_of_others_are_named_and_not_loaded(round_trip: RoundTrip, own_model: Any) -> None:
    with pytest.raises(ModelLoadFailed, match=r"not trusted: tests\.registry\.toys\.Centering\. If you do trust"):
        round_trip.register(own_model, **NAMED)


@pytest.mark.slow
def test_types_of_others_are_loaded_if_they_are_trusted_and_can_be_imported(
    round_trip: RoundTrip, own_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"trusted": ["tests.registry.toys.Centering"]}
    with pytest.raises(ModelLoadFailed, match=r"No module named 'tests'\. Install what is missing where workers run"):
        round_trip.register(own_model, **NAMED, runtime_options=options)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    version = round_trip.register(own_model, **NAMED, runtime_options=options)
    assert version.runtime_options == options
    model = round_trip(own_model, **NAMED, runtime_options=options)
    assert model.predict(ROWS) == own_model.predict(IRIS.data).tolist()


def test_trust_in_one_type_is_none_in_another(round_trip: RoundTrip) -> None:
    model = make_pipeline(toys.Centering(), FunctionTransformer(toys.double)).fit(IRIS.data)
    options = {"trusted": ["tests.registry.toys.Centering"]}
    with pytest.raises(ModelLoadFailed, match=r"not trusted: tests\.registry\.toys\.double\."):
        round_trip.register(model, **NAMED, runtime_options=options)


def test_a_pickle_is_never_loaded(round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []
    pickled = pickle.dumps(toys.Unloadable())
    monkeypatch.setattr(toys, "refuse", loaded.append)
    version = round_trip.register(LogisticRegression(max_iter=500).fit(IRIS.data, IRIS.target), **NAMED)
    path = round_trip.cache.fetch(version.artifact_sha256)
    path.write_bytes(pickled)
    with pytest.raises(ModelLoadFailed, match="The model can't be loaded: "):
        round_trip.load(version, path)
    assert loaded == []


def test_a_method_that_an_estimator_lacks_is_named(round_trip: RoundTrip) -> None:
    scaler = StandardScaler().fit(np.asarray(IRIS.data))
    with pytest.raises(ModelLoadFailed, match=r"a StandardScaler, has no method predict\(\)"):
        round_trip.register(scaler, **NAMED)


@pytest.mark.parametrize("options", [{"trusted": True}, {"trusted": "a.B"}, {"method": "fit"}, {"trust": []}])
def test_options_are_checked(round_trip: RoundTrip, options: dict[str, Any]) -> None:
    with pytest.raises(RuntimeOptionsInvalid, match=rf"runtime_options\.{next(iter(options))}"):
        round_trip.register(StandardScaler(), **NAMED, runtime_options=options)
