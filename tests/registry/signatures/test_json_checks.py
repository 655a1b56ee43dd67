"""What is checked as it stands in JSON fits the signature, and most of what fits is known at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InputInvalid
from registry.signatures.signature import Signature
from tests.registry.signatures.test_signature import ALL, PERSON, SAMPLE, SCALAR, TABLE, THREE

FLOAT32 = Signature.parse({"kind": "vector", "dtype": "float32", "shape": [2]})
UINT8 = Signature.parse({"kind": "scalar", "dtype": "uint8"})
UINT64 = Signature.parse({"kind": "scalar", "dtype": "uint64"})
NULLABLE = Signature.parse({"kind": "vector", "dtype": "float", "shape": [2], "nullable": True})
CATEGORIES = Signature.parse({"kind": "scalar", "dtype": "str", "categories": ["red", "green"]})
OPTIONAL = Signature.parse(
    {"kind": "named", "fields": {"age": {"dtype": "float"}, "name": {"dtype": "str", "required": False}}}
)
ODD_NAME = Signature.parse({"kind": "named", "fields": {'5" screen': {"dtype": "float"}}})
EVERY = [*ALL, FLOAT32, UINT8, UINT64, NULLABLE, CATEGORIES, OPTIONAL, ODD_NAME]
NUMBERS = st.integers() | st.floats() | st.sampled_from([2**53, 2**63, -(2**63), 2**64, 3.5e38, 255, 256, -1, 1e308])
LEAVES = st.none() | st.booleans() | st.text(max_size=3) | NUMBERS | st.sampled_from(["red", "\ud800"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["age", "name", "pair", '5" screen']), inner, max_size=3)
    ),
)


def is_valid(signature: Signature, value: Any) -> bool:
    try:
        signature.check(value)
    except InputInvalid:
        return False
    return True


@given(VALUES, st.booleans())
def test_what_fits_as_json_fits_as_a_value(value: Any, escapes: bool) -> None:
    text = json.dumps(value, ensure_ascii=escapes).encode(errors="surrogatepass")
    for signature in EVERY:
        if signature.json_check.fits(text):
            assert is_valid(signature, json.loads(text)), signature
        if signature.json_check.all_fit(text):
            assert value
            assert all(is_valid(signature, each) for each in json.loads(text))


@given(st.lists(st.lists(st.floats(-1e18, 1e18) | st.integers(-(2**53), 2**53), min_size=3, max_size=3), min_size=1))
def test_ordinary_rows_need_no_second_look(rows: list[list[float]]) -> None:
    assert THREE.json_check.all_fit(json.dumps(rows).encode())


@pytest.mark.parametrize(
    ("signature", "text", "fits"),
    [
        (SCALAR, b" 2.5 ", True),
        (SCALAR, b"1", True),
        (SCALAR, b"-0", True),
        (SCALAR, b"true", False),
        (SCALAR, b"null", False),
        (SCALAR, b'"1"', False),
        (SCALAR, b"NaN", False),
        (SCALAR, b"1e999", False),
        (SCALAR, b"01", False),
        (SCALAR, b"1 2", False),
        (SCALAR, b"", False),
        # Parsers differ in what they make of such an integer.
        (SCALAR, b"18446744073709551616", False),
        (THREE, b"[1,2,3]", True),
        (THREE, b"[1,2]", False),
        (THREE, b"[1,2,3,4]", False),
        (THREE, b"[]", False),
        (FLOAT32, b"[9e18, -9e18]", True),
        (FLOAT32, b"[3.5e38, 0]", False),
        (UINT8, b"255", True),
        (UINT8, b"256", False),
        (UINT8, b"1.0", False),
        (NULLABLE, b"[null, 1]", True),
        (NULLABLE, b"null", False),
        (PERSON, json.dumps(SAMPLE).encode(), True),
        (PERSON, json.dumps({**SAMPLE, "more": 1}).encode(), False),
        (PERSON, b'{"age": 1}', False),
        (PERSON, b'{"age": 1, "name": "\\ud800", "pair": [1, 2]}', False),
        (PERSON, b'{"age": 1, "name": "\xff", "pair": [1, 2]}', False),
        (OPTIONAL, b'{"age": 1}', True),
        (OPTIONAL, b'{"age": 1, "name": null}', False),
        # Left to the check of values: nothing of the parser says the same.
        (TABLE, b"[[1], [2]]", False),
        (CATEGORIES, b'"red"', False),
        (ODD_NAME, b'{"5\\" screen": 1}', False),
        (SCALAR, b"[" * 100_000, False),
    ],
)
def test_what_certainly_fits(signature: Signature, text: bytes, fits: bool) -> None:
    assert signature.json_check.fits(text) is fits
    assert signature.json_check.all_fit(b"[%b,%b]" % (text, text)) is fits


def test_an_empty_list_of_inputs_does_not_fit() -> None:
    assert not SCALAR.json_check.all_fit(b"[]")


def test_equal_signatures_share_a_check() -> None:
    again = Signature.parse(PERSON.document())
    assert again is not PERSON
    assert again.json_check is PERSON.json_check
