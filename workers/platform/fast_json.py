"""JSON that is read and written at the speed of msgspec wherever that says the same as Python's own.

msgspec writes NaN as null, and has forms of its own for dates, sets and many other types. So only plain values
are left to it, and what it wrote as null is written again by an encoder that knows the difference. `msgspec.Raw` is a
plain value: JSON that stays as it is.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
_strict_encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_ONE_VALUE = frozenset({int, float, str, bool, type(None), Raw})
_TEXT = frozenset({str})
_ARRAYS = frozenset({list, tuple})
#: Deeper values are left to the slower encoders, which know what to say of values that hold themselves.
_MAX_DEPTH = 64


def loads(content: bytes | str) -> Any:
    """Parse JSON as Python's own parser does, with NaN, and with numbers as large as they come.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    try:
        return _decoder.decode(content)
    except msgspec.DecodeError:
        return json.loads(content)


def dumps_strict(value: Any) -> bytes:
    """Return a value as JSON for any reader.

    Raises:
        TypeError, ValueError: it is not JSON-serializable; neither are NaN and infinity.
    """
    return _fast_dumps_without_nan(value) or _strict_encoder.encode(value).encode()


def dumps_finite(value: Any) -> bytes:
    """Return a value without NaN and infinity, which would become null, as JSON. Raises as `dumps_strict`."""
    return _fast_dumps(value) or _strict_encoder.encode(value).encode()


@lru_cache(maxsize=10_000)
def name_in_json(name: str) -> bytes:
    """Return a name in JSON: for those of endpoints and owners, of which there are few, and each in many documents."""
    return dumps_finite(name)


def dumps_celery(value: Any) -> bytes:
    """Return a value as JSON as Celery sends it: with dates and other types of Python's, and with NaN.

    Raises:
        TypeError, ValueError, RecursionError: it is not JSON-serializable, or two fields get one name.
    """
    content = _fast_dumps(value)
    if content is not None and (b"null" not in content or _is_finite(value)):
        return content
    text = _kombu_encoder().encode(value)
    if content is None:
        json.loads(text, object_pairs_hook=_refuse_equal_names)
    return text.encode()


@lru_cache(maxsize=1)
def _kombu_encoder() -> json.JSONEncoder:
    from kombu.utils.json import JSONEncoder

    encoder: json.JSONEncoder = JSONEncoder()
    return encoder


def _refuse_equal_names(members: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in members]
    if len(set(names)) != len(names):
        raise ValueError("an object has two names that become the same text, as 1 and '1' do")


def _fast_dumps_without_nan(value: Any) -> bytes | None:
    content = _fast_dumps(value)
    return None if content is None or (b"null" in content and not _is_finite(value)) else content


def _fast_dumps(value: Any) -> bytes | None:
    if type(value) not in _ONE_VALUE and not _is_plain(value, 0):
        return None
    try:
        return _encoder.encode(value)
    except (ValueError, OverflowError, msgspec.MsgspecError):  # half a surrogate pair, or thousands of digits
        return None


def _is_finite(value: Any) -> bool:
    """Whether a plain value holds no NaN and no infinity, which msgspec writes as null."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        return all(map(_is_finite, value.values()))
    return kind not in _ARRAYS or all(map(_is_finite, value))


def _is_plain(value: Any, depth: int) -> bool:
    """Whether there is one way alone to say a value, and what it holds, in JSON; NaN is not looked for."""
    kind = type(value)
    if kind is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind in _ONE_VALUE
    if _ONE_VALUE.issuperset(map(type, value)):
        return True
    for each in value:
        if type(each) not in _ONE_VALUE and (depth >= _MAX_DEPTH or not _is_plain(each, depth + 1)):
            return False
    return True


def dumps_plain(value: Any) -> bytes:
    """Return a document of ours as JSON: of plain values and finite numbers alone, so nothing is looked at first."""
    try:
        return _encoder.encode(value)
    except (ValueError, TypeError, OverflowError, msgspec.MsgspecError):
        return _kombu_encoder().encode(value).encode()
