"""The shape of outputs, as learned from a description or from outputs."""

from __future__ import annotations

from typing import Any

import pytest

from registry.signatures.output_columns import description_of
from registry.signatures.output_shape import OutputShape


@pytest.mark.parametrize(
    ("seen", "value", "fits"),
    [
        ([], {"anything": 1}, True),
        ([1], 2.5, True),
        ([1], "1", False),
        ([True], 1, False),
        ([[0.1, 0.9]], [1, 0], True),
        ([[0.1, 0.9]], [0.1, 0.2, 0.7], False),
        ([[0.1], [0.1, 0.9]], [0.1, 0.2, 0.7], True),
        ([{"label": "a", "p": 0.5}], {"p": 1, "label": "b"}, True),
        ([{"label": "a"}], {"class": "a"}, False),
        ([1, None], None, True),
        ([1], None, False),
    ],
)
def test_a_value_fits_what_was_seen(seen: list[Any], value: Any, *, fits: bool) -> None:
    shape = OutputShape()
    for each in seen:
        shape.learn(each)
    assert shape.fits(value) is fits


@pytest.mark.parametrize("output", [1.5, ["a", "b"], {"label": "a", "p": {"x": 0.1, "y": 0.9}}])
def test_an_output_fits_its_own_description(output: Any) -> None:
    shape = OutputShape()
    shape.describe(description_of(output))
    assert shape.fits(output)
    assert not shape.fits([[[None]]])
