"""What the arguments of a call mean."""

from __future__ import annotations

import json
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


BODIES = st.tuples(ANYTHING, ANYTHING, ANYTHING) | st.tuples(
    st.tuples(st.just("a")) | st.tuples(st.just("a"), ANYTHING),
    st.just({}) | st.dictionaries(st.sampled_from(["input", "inputs"]), st.lists(ANYTHING, max_size=3), max_size=2),
    ANYTHING,
)


@given(BODIES)
def test_what_is_read_quickly_is_what_is_read(body: Any) -> None:
    content = json.dumps(body)
    quickly = arguments.parse_quickly(content)
    if quickly is not None:
        args, kwargs, _ = json.loads(content)
        read = arguments.parse(args, kwargs)
        assert (quickly.endpoint_name, quickly.many) == (read.endpoint_name, read.many)
        assert arguments.values(quickly.rows) == read.rows


@pytest.mark.parametrize(
    ("body", "is_read"),
    [
        (b'[["a", 1], {}, {}]', True),
        (b'[["a"], {"inputs": [1, {"b": 2}]}, null]', True),
        (b'[["a"], {"inputs": []}, {}]', False),
        (b'[["a"], {"input": 1}, {}]', False),
        (b'[["a", 1], {"inputs": [1]}, {}]', False),
        (b'[["two\\nlines", 1], {}, {}]', False),
        (b'[["a", NaN], {}, {}]', False),
        (b'[["a", 1], {}]', False),
        (b'[["a", 1', False),
        (b"[" * 100_000, False),
        (b"", False),
    ],
)
def test_both_forms_are_read_quickly(body: bytes, is_read: bool) -> None:
    assert (arguments.parse_quickly(body) is not None) is is_read


def test_rows_of_another_parser_stay_what_they_are() -> None:
    rows = [float("inf"), 2**70, "\ud800", [None, {"é": -0.0}]]
    assert arguments.values(arguments.as_json(rows)) == rows
