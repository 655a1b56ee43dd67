from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InputInvalid, SignatureInvalid
from registry.signatures.signature import Signature

NAN, INFINITY = math.nan, math.inf
SCALAR = Signature.parse({"kind": "scalar", "dtype": "float"})
INTEGER = Signature.parse({"kind": "scalar", "dtype": "int"})
TEXT = Signature.parse({"kind": "scalar", "dtype": "str"})
FLAG = Signature.parse({"kind": "scalar", "dtype": "bool"})
THREE = Signature.parse({"kind": "vector", "dtype": "float", "shape": [3]})
ANY_LENGTH = Signature.parse({"kind": "vector", "dtype": "float"})
INTEGERS = Signature.parse({"kind": "vector", "dtype": "int", "shape": [None]})
WORDS = Signature.parse({"kind": "vector", "dtype": "str"})
FLAGS = Signature.parse({"kind": "vector", "dtype": "bool"})
IMAGE = Signature.parse({"kind": "tensor", "dtype": "float", "shape": [2, 3]})
TABLE = Signature.parse({"kind": "tensor", "dtype": "float", "shape": [None, None]})
PERSON = Signature.parse(
    {
        "kind": "named",
        "fields": {"age": {"dtype": "float"}, "name": {"dtype": "str"}, "pair": {"dtype": "int", "shape": [2]}},
    }
)
SAMPLE = {"age": 42, "name": "Ada", "pair": [1, 2]}
ALL = [SCALAR, INTEGER, TEXT, FLAG, THREE, ANY_LENGTH, INTEGERS, WORDS, FLAGS, IMAGE, TABLE, PERSON]


def deep(levels: int) -> Any:
    value: Any = 1.0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("signature", "value"),
    [
        (SCALAR, 2.5),
        (SCALAR, 3),
        (SCALAR, 2**1000),
        (INTEGER, -(2**63)),
        (TEXT, "naïve ☃"),
        (TEXT, ""),
        (FLAG, False),
        (THREE, [0.5, 1, -2e300]),
        (ANY_LENGTH, [1.0] * 1000),
        (INTEGERS, [1, 2**63 - 1]),
        (WORDS, ["a", "é"]),
        (FLAGS, [True, False]),
        (IMAGE, [[1, 2, 3], [4, 5, 6]]),
        (TABLE, [[1], [2], [3]]),
        (PERSON, SAMPLE),
    ],
)
def test_a_fitting_input_is_accepted(signature: Signature, value: Any) -> None:
    signature.check(value)


@pytest.mark.parametrize(
    ("signature", "value", "field", "expected", "received"),
    [
        (SCALAR, NAN, "input", "a finite number", "NaN"),
        (SCALAR, -INFINITY, "input", "a finite number", "-Infinity"),
        (SCALAR, True, "input", "a finite number", "true"),
        (SCALAR, None, "input", "a finite number", "null"),
        (SCALAR, "2.5", "input", "a finite number", "a string: '2.5'"),
        (SCALAR, [2.5], "input", "a finite number", "a list of 1 value"),
        (SCALAR, {}, "input", "a finite number", "an empty object"),
        (SCALAR, 10**400, "input", "a finite number", "an integer of about 401 digits"),
        pytest.param(SCALAR, 10**5000, "input", "a finite number", "an integer of about 5001 digits", id="10**5000"),
        (SCALAR, deep(100_000), "input", "a finite number", "a list of 1 value"),
        (INTEGER, 2**63, "input", "an integer of at most 64 bits", "the integer 9223372036854775808"),
        (INTEGER, 1.0, "input", "an integer of at most 64 bits", "the number 1.0"),
        (INTEGER, False, "input", "an integer of at most 64 bits", "false"),
        (TEXT, 5, "input", "a string of Unicode text", "the integer 5"),
        (TEXT, "\ud800", "input", "a string of Unicode text", "a string: '\\ud800'"),
        (FLAG, 1, "input", "true or false", "the integer 1"),
        (THREE, [1.0, "x" * 99, 2.0], "input[1]", "a finite number", "a string: '" + "x" * 39 + "…'"),
        (THREE, [1.0, 2.0, NAN], "input[2]", "a finite number", "NaN"),
        (THREE, [1.0, INFINITY, NAN], "input[1]", "a finite number", "Infinity"),
        (THREE, [1e308, 1e308, True], "input[2]", "a finite number", "true"),
        (THREE, [0.1, 0.2], "input", "a list of 3 finite numbers", "a list of 2 values"),
        (THREE, [], "input", "a list of 3 finite numbers", "an empty list"),
        (THREE, 0.5, "input", "a list of 3 finite numbers", "the number 0.5"),
        (THREE, "abc", "input", "a list of 3 finite numbers", "a string: 'abc'"),
        (THREE, [1.0, [2.0], 3.0], "input[1]", "a finite number", "a list of 1 value"),
        (THREE, [1.0, 10**400, 3.0], "input[1]", "a finite number", "an integer of about 401 digits"),
        (ANY_LENGTH, [], "input", "a list of one or more finite numbers", "an empty list"),
        (INTEGERS, [1, 2**63], "input[1]", "an integer of at most 64 bits", "the integer 9223372036854775808"),
        (INTEGERS, [1, True], "input[1]", "an integer of at most 64 bits", "true"),
        (WORDS, ["a", "\udfff"], "input[1]", "a string of Unicode text", "a string: '\\udfff'"),
        (FLAGS, [True, 0], "input[1]", "true or false", "the integer 0"),
        (IMAGE, [[1, 2, 3]], "input", "a list of 2 lists", "a list of 1 value"),
        (IMAGE, [[1, 2, 3], [4, 5]], "input[1]", "a list of 3 finite numbers", "a list of 2 values"),
        (IMAGE, [[1, 2, 3], [4, None, 6]], "input[1][1]", "a finite number", "null"),
        (TABLE, [[1, 2], [3]], "input[1]", "a list of 2 finite numbers", "a list of 1 value"),
        (TABLE, [[]], "input[0]", "a list of one or more finite numbers", "an empty list"),
        (PERSON, {**SAMPLE, "age": "x"}, "input.age", "a finite number", "a string: 'x'"),
        (PERSON, {**SAMPLE, "pair": [1, 2.5]}, "input.pair[1]", "an integer of at most 64 bits", "the number 2.5"),
        (PERSON, {"age": 1, "pair": [1, 2]}, "input.name", "given", "missing"),
        (PERSON, {**SAMPLE, "extra": 1}, "input.extra", "omitted: the fields are age, name, pair", "given"),
        (PERSON, [1, 2], "input", "an object with the fields age, name, pair", "a list of 2 values"),
    ],
)  # fmt: skip
def test_a_wrong_input_is_answered_with_its_place_what_belongs_there_and_what_stood_there(
    signature: Signature, value: Any, field: str, expected: str, received: str
) -> None:
    with pytest.raises(InputInvalid) as caught:
        signature.check(value)
    error = caught.value
    assert (error.field, error.expected, error.received) == (field, expected, received)
    assert len(str(error)) < 300


def test_the_path_of_one_of_many_rows_is_named() -> None:
    with pytest.raises(InputInvalid) as caught:
        PERSON.check({**SAMPLE, "age": NAN}, "inputs[3]")
    assert caught.value.field == "inputs[3].age"


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(_anything)
def test_any_json_value_is_either_accepted_or_refused_as_invalid_input(value: Any) -> None:
    for signature in ALL:
        try:
            signature.check(value)
        except InputInvalid as error:
            assert error.field.startswith("input")  # noqa: PT017 - either answer is right
        else:
            json.dumps(value, allow_nan=False).encode()


_values = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)
_vectors = st.lists(_values, min_size=1, max_size=5) | st.lists(st.booleans(), min_size=1, max_size=5)


@given(
    _values
    | _vectors
    | st.lists(st.just([1.0, 2.0]), min_size=1)
    | st.dictionaries(st.text("ab", min_size=1), _vectors, min_size=1)
)
def test_an_example_fits_the_signature_that_is_taken_from_it(example: Any) -> None:
    signature = Signature.from_example(example)
    signature.check(example)
    assert Signature.parse(json.loads(json.dumps(signature.document()))) == signature


def test_an_example_of_whole_numbers_stands_for_all_numbers() -> None:
    document = {"kind": "scalar", "dtype": "float", "shape": [], "keeps_integers": True}
    assert Signature.from_example(2).document() == document
    Signature.from_example([1, 2]).check([0.5, 0.25])


@pytest.mark.parametrize(
    "example",
    [None, [], [[]], [1.0, "a"], [[1.0], [1.0, 2.0]], {}, [None], {"a": {"b": 1}}, [{}],
     NAN, [NAN], 10**400, deep(9), deep(100_000)],
)  # fmt: skip
def test_no_signature_is_taken_from_an_example_that_shows_none(example: Any) -> None:
    with pytest.raises(SignatureInvalid) as caught:
        Signature.from_example(example)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"kind": "matrix", "dtype": "float"},
        {"kind": "scalar"},
        {"kind": "scalar", "dtype": "complex"},
        {"kind": "scalar", "dtype": "float", "shape": [1]},
        {"kind": "vector", "dtype": "float", "shape": [0]},
        {"kind": "vector", "dtype": "float", "shape": [1, 2]},
        {"kind": "tensor", "dtype": "float"},
        {"kind": "tensor", "dtype": "float", "shape": [1] * 9},
        {"kind": "named", "fields": {}},
        {"kind": "named", "dtype": "float", "fields": {"a": {"dtype": "float"}}},
        {"kind": "scalar", "dtype": "float", "fields": {"a": {"dtype": "float"}}},
        {"kind": "scalar", "dtype": "float", "nullable": "yes"},
        {"kind": "scalar", "dtype": "int", "storage": "float32"},
        {"kind": "scalar", "dtype": "str", "storage": "int8"},
        {"kind": "scalar", "dtype": "int128"},
        {"kind": "scalar", "dtype": "float", "required": False},
        {"kind": "scalar", "dtype": "float", "categories": [1, 2]},
        {"kind": "scalar", "dtype": "str", "categories": ["a", "a"]},
        {"kind": "scalar", "dtype": "str", "categories": ["a", 1]},
        {"kind": "scalar", "dtype": "str", "categories": []},
        {"kind": "scalar", "dtype": "int8", "categories": [1, 128]},
        {"kind": "vector", "dtype": "str", "categories": ["a", "b"]},
        {"kind": "named", "nullable": True, "fields": {"a": {"dtype": "float"}}},
        [],
    ],
)
def test_a_signature_that_contradicts_itself_is_refused(document: Any) -> None:
    with pytest.raises(SignatureInvalid, match="signature"):
        Signature.parse(document)


def test_the_json_schema_says_what_the_check_does() -> None:
    assert THREE.json_schema() == {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3}
    assert ANY_LENGTH.json_schema() == {"type": "array", "items": {"type": "number"}, "minItems": 1}
    assert IMAGE.json_schema()["items"] == THREE.json_schema()
    schema = PERSON.json_schema()
    assert schema["required"] == ["age", "name", "pair"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["name"] == {"type": "string"}


@pytest.mark.parametrize("dtype", [None, "storage"])
@pytest.mark.parametrize(
    ("storage", "least", "most"),
    [
        ("int8", -128, 127),
        ("uint8", 0, 255),
        ("int16", -32768, 32767),
        ("uint16", 0, 65535),
        ("int32", -(2**31), 2**31 - 1),
        ("uint32", 0, 2**32 - 1),
        ("int64", -(2**63), 2**63 - 1),
        ("uint64", 0, 2**64 - 1),
    ],
)
def test_an_integer_that_the_model_can_not_store_is_refused_with_the_bounds(
    storage: str, least: int, most: int, dtype: str | None
) -> None:
    named = {"dtype": storage} if dtype is None else {"dtype": "int", "storage": storage}
    one, several = Signature.parse({"kind": "scalar", **named}), Signature.parse({"kind": "vector", **named})
    assert one.document() == {"kind": "scalar", "dtype": "int", "shape": [], "storage": storage}
    for fine in (least, most):
        one.check(fine)
        several.check([fine, 1])
    for wrong in (least - 1, most + 1, 1.0, True, None, "1"):
        for signature, value in ((one, wrong), (several, [1, wrong])):
            with pytest.raises(InputInvalid, match=rf"from {least} to {most} \({storage}\)"):
                signature.check(value)
    assert (one.json_schema()["minimum"], one.json_schema()["maximum"]) == (least, most)


@pytest.mark.parametrize(
    ("storage", "fine", "wrong"),
    [
        ("float16", 65_519.9, 65_520),
        ("float32", 3.4028235e38, 3.41e38),
        ("float32", 10**38, 10**39),
        ("float64", 2**1000, 2**1030),
    ],
)
def test_a_number_that_the_model_would_see_as_infinity_is_refused(storage: str, fine: float, wrong: float) -> None:
    one = Signature.parse({"kind": "scalar", "dtype": storage})
    several = Signature.parse({"kind": "vector", "dtype": storage})
    for sign in (1, -1):
        one.check(sign * fine)
        several.check([0, sign * fine])
        for signature, value in ((one, sign * wrong), (several, [0, sign * wrong])):
            with pytest.raises(InputInvalid, match=rf"a number from -.* to .* \({storage}\)"):
                signature.check(value)


def test_null_is_a_value_where_it_is_allowed() -> None:
    for dtype, value in (("float", 1.5), ("int", 1), ("bool", True), ("str", "é"), ("int8", 3)):
        Signature.parse({"kind": "scalar", "dtype": dtype, "nullable": True}).check(None)
        several = Signature.parse({"kind": "vector", "dtype": dtype, "nullable": True})
        for fine in ([value, None], [None, None], [value]):
            several.check(fine)
        with pytest.raises(InputInvalid, match=r"input\[1\] must be .*, or null; it is an empty list"):
            several.check([None, []])
        with pytest.raises(InputInvalid, match=r"a list of one or more .*, or nulls"):
            several.check(None)
    assert several.json_schema()["items"]["type"] == ["integer", "null"]


def test_a_field_that_is_not_required_may_be_left_out() -> None:
    fields = {"a": {"dtype": "float"}, "b": {"dtype": "str", "required": False}}
    signature = Signature.parse({"kind": "named", "fields": fields})
    signature.check({"a": 1})
    signature.check({"a": 1, "b": "x"})
    for wrong, field in (({"a": 1, "b": None}, "input.b"), ({"b": "x"}, "input.a"), ({"a": 1, "c": 1}, "input.c")):
        with pytest.raises(InputInvalid) as caught:
            signature.check(wrong)
        assert caught.value.field == field
    assert signature.json_schema()["required"] == ["a"]
    assert signature.document()["fields"]["b"] == {"dtype": "str", "shape": [], "required": False}


def test_a_category_is_one_of_those_that_are_listed() -> None:
    fields = {
        "colour": {"dtype": "str", "categories": ["red", "blue"], "nullable": True},
        "grade": {"dtype": "int", "categories": [3, 1]},
    }
    signature = Signature.parse({"kind": "named", "fields": fields})
    signature.check({"colour": "red", "grade": 1})
    signature.check({"colour": None, "grade": 3})
    for wrong in ({"colour": "Red", "grade": 1}, {"colour": "red", "grade": 1.0}, {"colour": "red", "grade": True}):
        with pytest.raises(InputInvalid, match="one of the categories"):
            signature.check(wrong)
    schema = signature.json_schema()["properties"]
    assert schema["colour"] == {"type": ["string", "null"], "enum": ["red", "blue", None]}
    assert schema["grade"] == {"type": "integer", "enum": [3, 1]}


@pytest.mark.parametrize(
    ("example", "dtype", "nullable"),
    [
        ({"a": None}, "float", True),
        ({"a": [None, "x"]}, "str", True),
        ({"a": [[1.5, None]]}, "float", True),
        ({"a": True}, "bool", False),
    ],
)
def test_a_null_in_an_example_shows_that_null_is_allowed(example: Any, dtype: str, nullable: bool) -> None:
    fields = Signature.from_example(example).fields
    assert fields is not None
    assert (fields["a"].dtype, fields["a"].nullable) == (dtype, nullable)


def test_an_example_shows_which_numbers_are_integers_and_a_signature_that_was_given_says_so_itself() -> None:
    example = {"zip": 80331, "size": 52.0}
    taken = Signature.from_example(example)
    assert taken.document()["fields"]["zip"]["keeps_integers"] is True
    assert "keeps_integers" not in taken.document()["fields"]["size"]
    assert Signature.stored(taken.document(), example) == taken
    given = Signature.parse({"kind": "named", "fields": {"zip": {"dtype": "float"}, "size": {"dtype": "float"}}})
    # A release that stored nothing of it made of both the same document, and gave both to the model as integers.
    assert Signature.stored(given.document(), example) == taken
    settled = given.as_in_example(example, explicit=True)
    assert settled.document()["fields"]["zip"]["keeps_integers"] is False
    assert Signature.stored(settled.document(), example) == settled


def test_what_a_vector_has_of_integers_is_known_by_place() -> None:
    assert Signature.from_example([1, 2]).keeps_integers is True
    assert Signature.from_example([1, 2.5]).keeps_integers == (True, False)
    assert Signature.from_example([1.0, 2.5]).keeps_integers is None
    assert Signature.from_example([[1, 2], [3, 4]]).keeps_integers is None
