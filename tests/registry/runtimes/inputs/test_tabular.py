"""Data frames and columns that a model returns are rows, with each column in each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from registry.errors import OutputInvalid
from registry.runtimes.inputs.tabular import rows_of
from registry.runtimes.outputs import to_json


@pytest.mark.parametrize(
    ("answers", "rows"),
    [
        (pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}), [{"a": 1, "b": 0.5}, {"a": 2, "b": 1.5}]),
        (pd.DataFrame([[1, "x"], [2, "y"]]), [{"0": 1, "1": "x"}, {"0": 2, "1": "y"}]),
        (pd.Series(["x", "y"], dtype="category"), ["x", "y"]),
        ({"a": np.array([1, 2]), "b": ["x", "y"]}, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    ],
)
def test_answers_are_rows(answers: Any, rows: list[Any]) -> None:
    assert to_json(rows_of(answers, 2)) == rows


@pytest.mark.parametrize("columns", [["a", "a"], [1, "1"], ["true", True]])
def test_columns_of_one_name_are_refused(columns: list[Any]) -> None:
    with pytest.raises(OutputInvalid, match="two fields whose names become the same text"):
        rows_of(pd.DataFrame([[1, 2]], columns=columns), 1)
