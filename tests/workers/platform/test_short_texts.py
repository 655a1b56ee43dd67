"""Short texts of values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.platform.texts import short_repr

CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (("adding", [0.5, 1]), "('adding', [0.5, 1])"),
        ({"a": None}, "{'a': None}"),
        (10**5_000, "<int of 16610 bits>"),
        ([-(10**5_000)], "[<int of 16610 bits>]"),
        (12**30, repr(12**30)),
    ],
    ids=lambda _: "",
)
def test_values_are_told_as_python_does(value: Any, text: str) -> None:
    assert short_repr(value) == text


@pytest.mark.parametrize("value", ["x" * 10_000, [0] * 10_000, dict.fromkeys(range(99), "y" * 99), CIRCLE])
def test_long_values_are_cut(value: Any) -> None:
    assert len(short_repr(value)) <= 500
    assert "..." in short_repr(value) or len(short_repr(value)) == 500


def test_what_can_not_be_told_is_told_apart() -> None:
    assert "Unspeakable" in short_repr([Unspeakable()])


@given(st.recursive(st.integers() | st.text(st.characters()) | st.binary(), st.lists, max_leaves=9))
def test_every_text_can_be_sent(value: Any) -> None:
    assert len(short_repr(value).encode()) <= 4 * 500
