"""Inputs of estimators: rows of every kind of signature, in the order and form of the fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tests.registry.conftest import RoundTrip


def ask(round_trip: RoundTrip, model: Any, rows: list[Any], **named: Any) -> list[Any]:
    return round_trip(model, input_example=rows[0], **named).predict(rows)


def test_named_fields_are_put_into_the_order_of_the_signature(round_trip: RoundTrip) -> None:
    model = LinearRegression().fit([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [10.0, 1.0, 11.0])
    loaded = round_trip(model, input_example={"tens": 1.0, "ones": 1.0})
    (answer,) = loaded.predict([{"ones": 5, "tens": 2}])
    assert answer == pytest.approx(25)


def test_a_scalar_is_one_feature(round_trip: RoundTrip) -> None:
    model = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    assert ask(round_trip, model, [2.0, 3.0]) == pytest.approx([5.0, 7.0])


def test_text_goes_to_a_vectorizer_as_it_is(round_trip: RoundTrip) -> None:
    texts = ["good and nice", "nice", "bad", "bad and ugly"]
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, ["+", "+", "-", "-"])
    assert ask(round_trip, model, ["nice film", "ugly film"]) == ["+", "-"]


def test_text_features_stand_beside_numbers(round_trip: RoundTrip) -> None:
    rows = [["red", 1.0], ["blue", 2.0], ["red", 3.0], ["blue", 4.0]]
    columns = ColumnTransformer([("colour", OneHotEncoder(), [0])], remainder=StandardScaler())
    model = make_pipeline(columns, LinearRegression()).fit(np.array(rows, dtype=object), [1.0, 12.0, 3.0, 14.0])
    answers = ask(round_trip, model, [{"colour": "blue", "size": 6.0}, {"colour": "red", "size": 5.0}])
    assert answers == pytest.approx([16.0, 5.0])


def test_strings_are_features(round_trip: RoundTrip) -> None:
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), DecisionTreeClassifier())
    model.fit(np.array([["a", "x"], ["b", "x"], ["a", "y"], ["b", "y"]], dtype=object), ["ax", "bx", "ay", "by"])
    assert ask(round_trip, model, [["b", "y"], ["a", "x"]]) == ["by", "ax"]


@pytest.mark.parametrize(("dtype", "rows"), [("int", [[1, 0], [0, 1]]), ("bool", [[True, False], [False, True]])])
def test_integers_and_booleans_are_numbers(round_trip: RoundTrip, dtype: str, rows: list[Any]) -> None:
    model = LinearRegression().fit([[1, 0], [0, 1], [1, 1]], [10.0, 1.0, 11.0])
    signature = {"kind": "vector", "dtype": dtype, "shape": [2]}
    assert ask(round_trip, model, rows, signature=signature) == pytest.approx([10.0, 1.0])
