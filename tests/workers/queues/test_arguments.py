"""What the arguments of a call mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import JobArgumentsWrong
from workers.queues import arguments
from workers.queues.arguments import Arguments

ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["endpoint_name", "input", "inputs"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        (("a", 1), {}, Arguments("a", [1], many=False)),
        (["a", None], {}, Arguments("a", [None], many=False)),
        (("a", [1, 2]), {}, Arguments("a", [[1, 2]], many=False)),
        (("a",), {"inputs": [1, 2]}, Arguments("a", [1, 2], many=True)),
        (("a",), {"inputs": ([1],)}, Arguments("a", [[1]], many=True)),
        (("a",), {"input": None, "inputs": None}, Arguments("a", [None], many=False)),
        ((), {"endpoint_name": "a", "input": {}}, Arguments("a", [{}], many=False)),
    ],
)
def test_both_forms_are_read(args: Any, kwargs: Any, expected: Arguments) -> None:
    assert arguments.parse(args, kwargs) == expected


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ("ab", {}, "a list and an object"),
        (("a", 1), [], "a list and an object"),
        (("a", 1), None, "a list and an object"),
        (("a", 1, 2), {}, "3 positional"),
        (("a", 1), {"version": 1}, "version"),
        (("a",), {1: 2}, "'1'"),
        (("a", 1), {"input": 2}, "'input' is given twice"),
        (("a",), {}, "exactly one"),
        (("a", 1), {"inputs": [1]}, "exactly one"),
        (("a",), {"inputs": []}, "at least one input"),
        (("a",), {"inputs": {"a": 1}}, "at least one input"),
        (("", 1), {}, "can have the name ''"),
        (("two\nlines", 1), {}, "can have the name"),
        (("\ud800", 1), {}, "can have the name"),
        (("x" * 129, 1), {}, "can have the name"),
        ((7, 1), {}, "can have the name 7"),
        ((None, 1), {}, "can have the name None"),
    ],
)
def test_what_is_wrong_with_others_is_said(args: Any, kwargs: Any, said: str) -> None:
    with pytest.raises(JobArgumentsWrong, match=r"^predict takes") as caught:
        arguments.parse(args, kwargs)
    assert said in str(caught.value)


def test_what_is_said_is_short_and_can_be_stored() -> None:
    with pytest.raises(JobArgumentsWrong) as caught:
        arguments.parse(["a"], {f"{number}\ud800" * 100: 1 for number in range(1_000)})
    assert len(str(caught.value).encode()) < 1_000


@given(ANYTHING, ANYTHING)
def test_whatever_is_called_is_read_or_refused(args: Any, kwargs: Any) -> None:
    try:
        read = arguments.parse(args, kwargs)
    except JobArgumentsWrong:
        return
    assert read.rows
    assert read.endpoint_name
