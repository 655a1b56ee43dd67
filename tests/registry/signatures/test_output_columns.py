"""Predictions as columns: their names, dtypes, shapes and values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.signatures.input_checks import Dtype
from registry.signatures.output_columns import MAX_DESCRIPTION_BYTES, Column, columns_of, description_of


@pytest.mark.parametrize(
    ("predictions", "column"),
    [
        ([1.5, 2.5], Column("output", Dtype.FLOAT, [2], [1.5, 2.5])),
        ([1, 2], Column("output", Dtype.INT, [2], [1, 2])),
        ([1, 2.5], Column("output", Dtype.FLOAT, [2], [1.0, 2.5])),
        ([2**53, 2.5], Column("output", Dtype.FLOAT, [2], [9007199254740992.0, 2.5])),
        ([True, False], Column("output", Dtype.BOOL, [2], [True, False])),
        (["a", "ü"], Column("output", Dtype.STR, [2], ["a", "ü"])),
        ([[1, 2, 3]], Column("output", Dtype.INT, [1, 3], [1, 2, 3])),
        ([[[1.0], [2.0]], [[3.0], [4.0]]], Column("output", Dtype.FLOAT, [2, 2, 1], [1.0, 2.0, 3.0, 4.0])),
    ],
)
def test_values_and_lists_of_one_kind_are_one_column(predictions: list[Any], column: Column) -> None:
    assert columns_of(predictions) == [column]
    assert list(map(type, columns_of(predictions)[0].values)) == list(map(type, column.values))


def test_an_object_has_a_column_for_each_member() -> None:
    predictions = [{"label": "a", "score": 1.0}, {"score": 0.5, "label": "b"}]
    assert columns_of(predictions) == [
        Column("label", Dtype.STR, [2], ["a", "b"]),
        Column("score", Dtype.FLOAT, [2], [1.0, 0.5]),
    ]


def test_an_object_of_values_in_a_member_is_a_column_of_lists_with_its_keys() -> None:
    predictions = [{"p": {"no": 0.25, "yes": 0.75}}, {"p": {"yes": 1, "no": 0}}]
    assert columns_of(predictions) == [
        Column("p", Dtype.FLOAT, [2, 2], [0.25, 0.75, 0.0, 1.0], keys=["no", "yes"]),
    ]


@pytest.mark.parametrize(
    "predictions",
    [
        [None],
        [1, "a"],
        [True, 1],
        [[1], [1, 2]],
        [[1], 1],
        [[]],
        [{}],
        [{"a": 1}, {"b": 1}],
        [2**63],
        [2**53 + 1, 0.5],
        [["a", 1.5]],
    ],
)
def test_what_is_of_no_one_kind_is_json_text(predictions: list[Any]) -> None:
    [column] = columns_of(predictions)
    assert (column.dtype, column.shape, column.as_json) == (Dtype.STR, [len(predictions)], True)
    assert [json.loads(each) for each in column.values] == predictions


def test_a_description_says_of_one_row_what_columns_say_of_many() -> None:
    prediction = {"label": "a", "p": {"no": 0.25, "yes": 0.75}, "rest": None}
    assert description_of(prediction) == [
        {"name": "label", "dtype": "str", "shape": [], "keys": None, "as_json": False},
        {"name": "p", "dtype": "float", "shape": [2], "keys": ["no", "yes"], "as_json": False},
        {"name": "rest", "dtype": "str", "shape": [], "keys": None, "as_json": True},
    ]


def test_a_description_that_is_too_long_or_no_text_is_left_out() -> None:
    assert description_of({"\udc00": 1.0}) is None
    assert description_of({f"output {number}": 1.0 for number in range(MAX_DESCRIPTION_BYTES // 10)}) is None
