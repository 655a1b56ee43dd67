"""Inputs of estimators: each column has the signature's dtype, whatever the other rows are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from registry.errors import InputUnsuitable, ModelLoadFailed
from registry.runtimes.inputs import rows as rows_module
from registry.runtimes.models.estimators import EstimatorModel, EstimatorOptions
from registry.signatures.signature import Signature


class Recorder:
    """Keeps its input; fitted on named columns if it has names."""

    def __init__(self, names: list[str] | None = None) -> None:
        self.calls: list[Any] = []
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)

    def predict(self, given: Any) -> Any:
        self.calls.append(given)
        return list(range(len(given)))


def given(
    rows: list[Any], names: list[str] | None, document: dict[str, Any] | None = None, missing: Any = "nan"
) -> list[Any]:
    """Return the input that an estimator fitted on these columns gets for the rows."""
    recorder = Recorder(names)
    signature = Signature.from_example(rows[0]) if document is None else Signature.parse(document)
    for row in rows:
        signature.check(row)
    EstimatorModel(recorder, EstimatorOptions(missing=missing), signature).predict(rows)
    return recorder.calls


def frame(rows: list[Any], names: list[str], document: dict[str, Any] | None = None, missing: Any = "nan") -> Any:
    (only,) = given(rows, names, document, missing)
    assert list(only.columns) == names
    return only


def named(**fields: Any) -> dict[str, Any]:
    made = {name: each if isinstance(each, dict) else {"dtype": each} for name, each in fields.items()}
    return {"kind": "named", "fields": made}


def test_a_data_frame_has_the_columns_in_the_order_of_the_fit() -> None:
    asked = frame([{"b": 1.5, "a": "x"}, {"b": 2.5, "a": "y"}], ["a", "b"])
    assert asked["a"].tolist() == ["x", "y"]
    assert asked["b"].tolist() == [1.5, 2.5]


def test_an_array_has_the_order_of_the_fit_where_there_is_no_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "find_spec", lambda _: None)
    (asked,) = given([{"ones": 5.0, "tens": 2.0}], ["tens", "ones"])
    assert asked.tolist() == [[2.0, 5.0]]


def test_a_vector_is_a_row_of_a_data_frame() -> None:
    assert frame([[1.5, 2.0], [3.0, 4.0]], ["a", "b"]).to_numpy().tolist() == [[1.5, 2.0], [3.0, 4.0]]
    assert frame([1.5, 2.0], ["a"]).to_numpy().tolist() == [[1.5], [2.0]]


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
def test_a_vector_of_another_length_than_the_fit_is_refused_at_once(names: list[str]) -> None:
    with pytest.raises(ModelLoadFailed, match=f"fitted on the {len(names)} columns a.*an input .* has 2 values"):
        given([[1.5, 2.0]], names)
    with pytest.raises(InputUnsuitable, match=f"fitted on {len(names)} columns, not on 2"):
        given([[1.5, 2.0]], names, {"kind": "vector", "dtype": "float"})


@pytest.mark.parametrize(
    ("spec", "values", "dtype", "seen"),
    [
        ("float", [1, 2.5], "float64", [1.0, 2.5]),
        ("int", [1, 2**62 + 1], "int64", [1, 2**62 + 1]),
        ("bool", [True, False], "bool", [True, False]),
        ("int8", [-128, 127], "int8", [-128, 127]),
        ("uint64", [0, 2**64 - 1], "uint64", [0, 2**64 - 1]),
        ("float32", [0.5, 3.4028235e38], "float32", [0.5, 3.4028234663852886e38]),
        ("str", ["2026-11-29", "1.0"], "str", ["2026-11-29", "1.0"]),
        ({"dtype": "float", "nullable": True}, [1, None], "float64", [1.0, None]),
        ({"dtype": "int", "nullable": True}, [2**53, None], "float64", [2.0**53, None]),
        ({"dtype": "int", "nullable": True}, [1, 2], "float64", [1.0, 2.0]),
        ({"dtype": "bool", "nullable": True}, [True, None], "object", [True, None]),
        ({"dtype": "bool", "nullable": True}, [True, False], "object", [True, False]),
        ({"dtype": "str", "nullable": True}, ["x", None], "str", ["x", None]),
        ({"dtype": "str", "categories": ["b", "a"]}, ["a", "b"], "category", ["a", "b"]),
        ({"dtype": "str", "categories": ["b", "a"], "nullable": True}, ["a", None], "category", ["a", None]),
        ({"dtype": "float", "shape": [2]}, [[1, 2], [3, 4]], "object", [[1, 2], [3, 4]]),
    ],
)
def test_a_column_has_the_dtype_that_the_signature_says(
    spec: Any, values: list[Any], dtype: str, seen: list[Any]
) -> None:
    asked = frame([{"x": each, "y": 0.5} for each in values], ["x", "y"], named(x=spec, y="float"))
    assert str(asked["x"].dtype) == dtype
    assert [None if each is None or each != each else each for each in asked["x"].tolist()] == seen  # noqa: PLR0124 - NaN
    for value in values:  # nor does the dtype of a row that is alone depend on what it is
        assert str(frame([{"x": value, "y": 0.5}], ["x", "y"], named(x=spec, y="float"))["x"].dtype) == dtype


def test_categories_are_in_the_order_of_the_signature() -> None:
    spec = {"dtype": "str", "categories": ["low", "high"]}
    assert list(frame([{"x": "high"}], ["x"], named(x=spec))["x"].cat.categories) == ["low", "high"]


def test_what_is_missing_is_nan_or_none_as_the_options_say() -> None:
    optional = {"dtype": "str", "nullable": True, "required": False}
    document = named(x=optional, y={"dtype": "bool", "nullable": True}, z="float")
    absent = [{"y": None, "z": 0.5}]
    as_nan = frame(absent, ["x", "y", "z"], document).loc[0]
    assert [isinstance(each, float) for each in as_nan] == [True, True, True]
    as_none = frame(absent, ["x", "y", "z"], document, missing="none").loc[0]
    assert as_none["x"] is None
    assert as_none["y"] is None


def test_a_number_is_an_integer_where_that_of_the_example_was_one_in_every_batch() -> None:
    rows = [{"zip": 80331, "size": 2}, {"zip": 10115.0, "size": 3.5}, {"zip": 1.5, "size": 4.0}, {"zip": 7, "size": 1}]
    example = {"zip": 12345, "size": 52.5}
    recorder = Recorder(["zip", "size"])
    model = EstimatorModel(recorder, EstimatorOptions(), Signature.from_example(example))
    assert model.predict(rows) == [0, 1, 0, 2]
    integers, fractions = recorder.calls
    assert integers["zip"].tolist() == [80331, 10115, 7]
    assert str(integers["zip"].dtype) == "int64"
    assert str(fractions["zip"].dtype) == "float64"
    assert {str(each["size"].dtype) for each in recorder.calls} == {"float64"}


def test_a_vector_keeps_integers_at_the_places_of_those_in_the_example() -> None:
    recorder = Recorder(["zip", "size"])
    model = EstimatorModel(recorder, EstimatorOptions(), Signature.from_example([80331, 52.5]))
    model.predict([[1, 2], [3.0, 4.5]])
    (asked,) = recorder.calls
    assert [str(each) for each in asked.dtypes] == ["int64", "float64"]


@pytest.mark.parametrize("value", [2**53 + 1, -(2**62) - 1])
def test_an_integer_that_a_float_would_round_is_refused(value: int) -> None:
    fields = named(x={"dtype": "int", "nullable": True}, y="float")
    for names in (["x", "y"], None):
        with pytest.raises(InputUnsuitable, match=f"can't hold the integer {value}"):
            given([{"x": value, "y": 0.5}], names, fields)


@pytest.mark.parametrize(
    ("document", "rows", "dtype", "seen"),
    [
        ({"kind": "vector", "dtype": "float", "nullable": True}, [[1, None]], "float64", [[1.0, None]]),
        ({"kind": "vector", "dtype": "int"}, [[1, 2**62 + 1]], "int64", [[1, 2**62 + 1]]),
        ({"kind": "vector", "dtype": "int", "nullable": True}, [[1, None]], "float64", [[1.0, None]]),
        ({"kind": "vector", "dtype": "uint8"}, [[1, 255]], "uint8", [[1, 255]]),
        ({"kind": "vector", "dtype": "str", "nullable": True}, [["a", None]], "object", [["a", None]]),
        (named(a="float", b="str"), [{"a": 1, "b": "x"}], "object", [[1.0, "x"]]),
        (named(a="float32", b="float32"), [{"a": 1, "b": 2}], "float32", [[1.0, 2.0]]),
        (named(a={"dtype": "float", "required": False}, b="int"), [{"b": 2}], "float64", [[None, 2.0]]),
        ({"kind": "tensor", "dtype": "float", "shape": [1, 2]}, [[[1, 2]]], "float64", [[[1.0, 2.0]]]),
    ],
)
def test_an_array_has_one_dtype_for_all(document: Any, rows: list[Any], dtype: str, seen: list[Any]) -> None:
    (asked,) = given(rows, None, document)
    assert str(asked.dtype) == dtype
    objects = asked.astype(object)
    objects[pd.isna(asked)] = None
    assert objects.tolist() == seen


def test_fields_are_matched_with_columns_that_a_library_has_renamed() -> None:
    rows = [{"petal width (cm)": 1.5, "sepal length": 2.5}]
    assert frame(rows, ["sepal_length", "petal_width__cm_"]).to_numpy().tolist() == [[2.5, 1.5]]


def test_fields_that_are_not_the_columns_of_the_fit_are_refused_at_once() -> None:
    with pytest.raises(ModelLoadFailed, match="fitted on the columns age, size; the signature has no field size"):
        given([{"age": 1.5, "width": 2.5}], ["age", "size"])
