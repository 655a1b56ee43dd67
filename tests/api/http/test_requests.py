"""How requests are read: JSON, queries and the Prefer header."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from api import strict_json
from api.errors import JsonInvalid, RequestInvalid
from api.http.flask_app import requests

app = Flask(__name__)


class Pair(BaseModel):
    model_config = ConfigDict(extra="forbid")
    left: int
    right: list[int] = []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("wait=10", 10),
        ("WAIT = 10", 10),
        ('wait="10"', 10),
        ("respond-async, wait=10", 10),
        ("wait=10, respond-async", 10),
        ("wait=10; why=because", 10),
        ('return=minimal; foo="a, wait=3", wait=10', 10),
        ("wait=10, wait=20", 10),
        ("wait=0", 0),
        ("wait=100000", 60),
        ("wait=999999999999999999999", None),
        ("wait", None),
        ("wait=", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=ten", None),
        ("await=10", None),
        ('"broken, wait=7', 7),
        (";;=, wait=7", 7),
        (", ,", None),
        ("", None),
    ],
)
def test_prefer_wait_is_read_as_rfc_7240_says(header: str | None, seconds: float | None) -> None:
    headers = {} if header is None else {"Prefer": header}
    with app.test_request_context(headers=headers):
        assert requests.prefer_wait_s(60) == seconds


def test_prefer_wait_is_found_in_the_second_of_two_headers() -> None:
    with app.test_request_context(headers=[("Prefer", "respond-async"), ("Prefer", "wait=4")]):
        assert requests.prefer_wait_s(60) == 4


def test_a_long_malformed_prefer_header_is_read_in_no_time() -> None:
    with app.test_request_context(headers={"Prefer": "a=" + '"\\' * 4_000 + ";;;" * 2_000}):
        assert requests.prefer_wait_s(60) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "The body is empty"),
        (b" \n", "The body is empty"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b"[Infinity]", "Infinity is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        (b"[1e999]", "too large"),
        (b"[" + b"9" * 5_000 + b"]", "not JSON"),
        (b'"\xff"', "not UTF-8"),
        (b"[" * 100_000, "nested more than 64"),
        (b"[" * 65 + b"]" * 65, "nested more than 64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested more than 64"),
    ],
)
def test_json_that_no_program_can_rely_on_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(JsonInvalid, match=reason):
        strict_json.json_text(text)


SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"


@pytest.mark.parametrize("sign", SEPARATORS)
def test_a_line_feed_alone_ends_a_line(sign: str) -> None:
    # Control characters may stand between documents no more than inside of them.
    if sign < " ":
        with pytest.raises(JsonInvalid, match=r"^Line 2: "):
            list(strict_json.json_lines(f'"a"\n"b{sign}c"'.encode()))
    else:
        assert list(strict_json.json_lines(f'"a{sign}b"\r\n\n"c"'.encode())) == [(1, f"a{sign}b"), (3, "c")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_text_in_a_wide_encoding_is_refused_as_such(encoding: str) -> None:
    content = '["a"]\n["b"]'.encode(encoding)
    for read in (strict_json.json_text, lambda each: list(strict_json.json_lines(each))):
        with pytest.raises(JsonInvalid, match=r"^The body is not UTF-8: it looks like UTF-16"):
            read(content)


def test_a_byte_order_mark_is_skipped() -> None:
    assert strict_json.json_text(b"\xef\xbb\xbf[1]") == [1]
    assert list(strict_json.json_lines(b"\xef\xbb\xbf1\n2")) == [(1, 1), (2, 2)]


def test_json_at_the_depth_limit_is_read() -> None:
    assert strict_json.json_text(b"[" * 64 + b"]" * 64)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"[123456789012345678901234567890]", [123456789012345678901234567890]),
        (b"[18446744073709551616, -0, 1E5]", [18446744073709551616, 0, 1e5]),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'["\\ud800"]', ["\ud800"]),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b" [1]\r\n", [1]),
        (b"9" * 4_300, int("9" * 4_300)),
    ],
)
def test_json_is_read_as_python_reads_it(text: bytes, value: object) -> None:
    assert strict_json.json_text(text) == strict_json.json_text(text.decode()) == value


PIECES = [
    *(
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        '"',
        "\\",
        "\\ud800",
        "\\udc00",
        "\\u0041",
        "1",
        "0",
        "-",
        ".",
        "e",
        "+",
        "9" * 400,
    ),
    *("null", "true", "NaN", "Infinity", "é", "\x00", " ", "\n", "\ufeff", '"a"', "[1, 2.5]", '{"a": 1}', "1e400"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join).map(str.encode) | st.binary(max_size=12))
def test_what_is_read_quickly_is_read_the_same_with_care(text: bytes) -> None:
    try:
        quickly = strict_json._decoder.decode(text)
    except ValueError:  # all of msgspec's own are
        return
    assert repr(quickly) == repr(strict_json._careful_decoder.decode(text.decode()))


def test_an_error_says_where_it_is() -> None:
    with pytest.raises(JsonInvalid, match=r"line 1 column 17 \(char 16\)"):
        strict_json.json_text(b'{"input": [1, 2,, 3]}')


@pytest.mark.parametrize("text", ["[]", "1", '"x"', "null", "true"])
def test_a_body_that_is_no_object_is_refused(text: str) -> None:
    with (
        app.test_request_context(method="POST", data=text),
        pytest.raises(RequestInvalid, match="must be a JSON object"),
    ):
        requests.body(Pair)


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/json"])
def test_a_json_body_is_read_whatever_its_content_type(content_type: str | None) -> None:
    with app.test_request_context(method="POST", data='{"left": 1}', content_type=content_type):
        assert requests.body(Pair).left == 1


def test_every_wrong_field_is_named() -> None:
    document = '{"left": "x", "right": [1, "y"], "extra": 1}'
    with app.test_request_context(method="POST", data=document), pytest.raises(RequestInvalid) as caught:
        requests.body(Pair)
    assert [each["field"] for each in caught.value.extras["errors"]] == ["left", "right[1]", "extra"]
    assert "extra: is not a known field; there are left, right" in str(caught.value)


def test_a_parameter_given_twice_is_refused() -> None:
    with (
        app.test_request_context("/?left=1&left=2"),
        pytest.raises(RequestInvalid, match="left: is given more than once"),
    ):
        requests.query(Pair)


def nested(levels: int, *beside: str) -> Any:
    """Lists in lists, with texts before and after the inner ones."""
    value: Any = []
    for _ in range(levels - 1):
        value = [*beside[:1], value, *beside[1:]]
    return value


@pytest.mark.parametrize(
    ("value", "is_read"),
    [
        ([[1]] * 100, True),
        ([{"a": [1, {"b": []}]}] * 100, True),
        (["text"] * 100 + [["]"]] * 100, True),
        (['"'] * 100 + [['\\"[']] * 100, True),
        (["[" * 200], True),
        (["{" * 200, '"' + "[" * 200], True),
        (nested(63), True),
        (nested(65), False),
        ([nested(63), nested(64)], False),
        # Texts whose brackets would close those of the lists.
        (nested(70, "]", "["), False),
        (nested(70, '"]', '["'), False),
        (nested(70, "\\]", "[\\"), False),
    ],
)
def test_many_brackets_are_no_depth(value: Any, is_read: bool) -> None:
    if is_read:
        assert strict_json.json_text(json.dumps(value)) == value
    else:
        with pytest.raises(JsonInvalid, match="nested more than 64 levels"):
            strict_json.json_text(json.dumps(value))
