from __future__ import annotations

import datetime as dt
import enum
import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from registry.errors import OutputInvalid
from registry.runtimes.outputs import rows_to_json, to_json


class Verdict(str, enum.Enum):  # noqa: UP042 - its text is not its value
    SPAM = "spam"
    HAM = "ham"


class Grade(enum.IntEnum):
    GOOD = 2


class Flag(enum.StrEnum):
    ON = "on"


class Percent(float):
    """Has words of its own for people."""

    def __str__(self) -> str:
        return f"{self:.0%}"

    __repr__ = __str__

    def __float__(self) -> float:
        return -1.0


class Count(int):
    """As above."""

    def __str__(self) -> str:
        return "many"

    __repr__ = __str__

    def __int__(self) -> int:
        return -1


class Shout(str):  # noqa: SLOT000 - as models have them
    """As above."""

    def __str__(self) -> str:
        return self.upper()


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
    ("value", "plain", "name"),
    [
        (Verdict.SPAM, "spam", "spam"),
        (Flag.ON, "on", "on"),
        (Shout("low"), "low", "low"),
        (np.str_("benign"), "benign", "benign"),
        (Grade.GOOD, 2, "2"),
        (Count(3), 3, "3"),
        (Percent(0.5), 0.5, "0.5"),
        (np.float64(0.1), 0.1, "0.1"),
        (np.int64(7), 7, "7"),
        (np.bool_(True), True, "true"),
        (True, True, "true"),
        (1.0, 1.0, "1.0"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_of_a_class_is_what_it_is_of_json_and_not_what_its_text_says(value: Any, plain: Any, name: str) -> None:
    for converted in (to_json(value), to_json([value])[0], to_json({"a": (value,)})["a"][0]):
        assert (type(converted), converted) == (type(plain), plain)
    ((found, _),) = to_json({value: 1}).items()
    assert (type(found), found) == (str, name)


@pytest.mark.parametrize(
    "value", [{1: "a", "1": "b"}, {"true": 1, True: 2}, {1.5: 1, "1.5": 2}, {np.int64(7): 1, "7": 2, Grade.GOOD: 3}]
)
def test_names_that_become_one_are_refused(value: Any) -> None:
    with pytest.raises(OutputInvalid, match=r"prediction\[1\]\.a has two fields whose names become the same text"):
        to_json([1, {"a": value}])


def test_names_that_differ_as_text_are_all_kept() -> None:
    assert to_json({Verdict.SPAM: 1, "SPAM": 2, 1: 3, "1.0": 4}) == {"spam": 1, "SPAM": 2, "1": 3, "1.0": 4}


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
        ({math.nan: 3}, "a field whose name is NaN"),
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
