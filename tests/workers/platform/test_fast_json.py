"""Fast JSON says what the encoders of Python and of kombu say, or leaves it to them."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import json as kombus

from workers.platform import fast_json

TEXTS = st.text(st.characters(), max_size=8) | st.just("null")  # also half surrogate pairs
ONE_VALUE = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    ONE_VALUE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=10
)
DATE = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)


class Colour(IntEnum):
    RED = 1


class OwnFloat(float):
    pass


def read(text: bytes | str) -> str:
    """What kombu reads; NaN is equal to itself here."""
    return repr(kombus.loads(text))  # type: ignore[no-untyped-call]


@given(VALUES)
def test_what_is_written_for_celery_is_read_as_what_kombu_writes(value: Any) -> None:
    assert read(fast_json.dumps_celery(value)) == read(kombus.dumps(value))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "value",
    [
        DATE, date(2031, 5, 4), Decimal("1.10"), UUID(int=5), Colour.RED, b"bytes", OwnFloat(1.5), OwnFloat("nan"),
        OrderedDict(a=1), {1: 2}, {None: 1, True: 2}, {1.5: 1}, (1, (2,)), [[[math.nan]]], 10**400,
    ],
    ids=repr,
)  # fmt: skip
def test_types_of_pythons_own_are_written_as_kombu_writes_them(value: Any) -> None:
    assert read(fast_json.dumps_celery([value])) == read(kombus.dumps([value]))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "value", [{1, 2}, object(), 1j, 10**5_000, {(1, 2): 3}], ids=lambda value: type(value).__name__
)
def test_what_kombu_can_not_say_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        fast_json.dumps_celery([value])


@pytest.mark.parametrize("value", [{1: 2, "1": 3}, [{"a": ({None: 1, "null": 2},)}], {"d": DATE, True: 1, "true": 2}])
def test_names_that_become_one_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="two names that become the same text"):
        fast_json.dumps_celery(value)


@given(VALUES)
def test_strict_json_is_read_as_it_was_or_refused_for_a_number_that_is_none(value: Any) -> None:
    try:
        expected = json.dumps(value, allow_nan=False)
    except ValueError:
        with pytest.raises(ValueError, match="JSON"):
            fast_json.dumps_strict(value)
        return
    assert json.loads(fast_json.dumps_strict(value)) == json.loads(expected)
    assert json.loads(fast_json.dumps_finite(value)) == json.loads(expected)


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": [[-math.inf]]}, [None, math.nan]])
def test_strict_json_has_no_null_where_a_number_was(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        fast_json.dumps_strict(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for write in (fast_json.dumps_strict, fast_json.dumps_celery, fast_json.dumps_finite):
        with pytest.raises(ValueError, match="Circular"):
            write(circle)
