from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from registry.errors import OutputInvalid
from registry.runtimes.outputs import rows_to_json, to_json


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (2**64, 2**64),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int64(7), 7),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(1), True),
        (np.str_("benign"), "benign"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(["a", None], dtype=object), ["a", None]),
        (np.array(5), 5),
        ((1, "a", [2.0]), [1, "a", [2.0]]),
        ({"a": np.float64(1), 2: "b", np.str_("c"): [], True: 0}, {"a": 1.0, "2": "b", "c": [], "true": 0}),
    ],
)
def test_numbers_of_numpy_and_plain_values_become_json(value: Any, plain: Any) -> None:
    converted = to_json(value)
    assert converted == plain
    assert json.loads(json.dumps(converted, allow_nan=False)) == plain


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (math.nan, "prediction is NaN"),
        ([1.0, math.inf], r"prediction\[1\] is Infinity"),
        (np.array([0.5, math.nan]), r"prediction\[1\] is NaN"),
        ({"a": {"b": math.nan}}, r"prediction\.a\.b is NaN"),
        (dt.date(2026, 1, 1), "a date"),
        (np.datetime64("2026-01-01"), "a datetime64"),
        (np.complex128(1j), "a complex128"),
        (Decimal(1), "a Decimal"),
        ({1, 2}, "a set"),
        (b"bytes", "a bytes"),
        (object(), "a object"),
        pytest.param(10**5000, "digits", id="5001 digits"),
        ({(1, 2): 3}, "a field whose name"),
        ({None: 3}, "a field whose name"),
        (nested(40), "deep"),
        (nested(100_000), "deep"),
    ],
)
def test_what_json_can_not_say_is_refused_with_its_place(value: Any, place: str) -> None:
    with pytest.raises(OutputInvalid, match=place):
        to_json(value)


@pytest.mark.parametrize("outputs", [[1], [1, 2, 3], 5, None, {"a": 1}])
def test_a_batch_must_have_an_output_for_each_row(outputs: Any) -> None:
    with pytest.raises(OutputInvalid, match="2 outputs for 2 rows"):
        rows_to_json(outputs, 2)
