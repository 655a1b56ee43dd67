"""Inputs as JSON, and predictions as arrays where the input was one; numpy is used only if the caller has it."""

from __future__ import annotations

import json
import sys
from math import isnan
from typing import Any

from api.client.errors import InputNotJson

#: The members of a request that hold inputs, where null is a missing value; elsewhere it would mean a default.
_OF_INPUTS = frozenset({"input", "inputs", "input_example"})
_ONE_VALUE = frozenset({int, float, str, bool, type(None)})


def to_json(document: Any) -> bytes:
    """Return a document as JSON; numpy's arrays and numbers in it are lists and numbers, NaN of inputs is null.

    Raises:
        InputNotJson: JSON can't say it.
    """
    try:
        text = _dumped(document)
        if _has_names_that_are_no_text(document):
            json.loads(text, object_pairs_hook=_refuse_equal_names)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputNotJson(f"This is not JSON-serializable ({error}); JSON has no infinity and no bytes.") from error


def _dumped(document: Any) -> str:
    """Write JSON; only a document that has NaN is gone through for it, since most have none."""
    try:
        return json.dumps(document, allow_nan=False, default=_plain, separators=(",", ":"))
    except ValueError:
        if not isinstance(document, dict) or _OF_INPUTS.isdisjoint(document):
            raise
        without = {name: _nan_as_null(each) if name in _OF_INPUTS else each for name, each in document.items()}
        return json.dumps(without, allow_nan=False, default=_plain, separators=(",", ":"))


def is_array(value: Any) -> bool:
    """Tell whether this is a numpy array."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def like_input(prediction: Any) -> Any:
    """Return a prediction for an input that was an array.

    Lists of numbers, texts or truth values, nested evenly, become arrays, also those in a dict, unless an array would
    change a value; all else stays.
    """
    if isinstance(prediction, dict):
        return {name: like_input(value) for name, value in prediction.items()}
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(prediction, list):
        return prediction
    try:
        array = numpy.asarray(prediction)
    except ValueError:  # not even
        return prediction
    # Very large integers would be rounded beside others, and text would lose null characters at its end.
    faithful = array.dtype.kind in "biufU" and _same_kind(prediction) and array.tolist() == prediction
    return array if faithful else prediction


def _same_kind(values: list[Any]) -> bool:
    """Whether numpy has not made texts of numbers, or numbers of truth values: a list of both is no array."""
    kinds = {float if kind is int else kind for kind in set(map(type, values))}
    if kinds == {list}:
        return all(map(_same_kind, values))
    return len(kinds) <= 1


def _nan_as_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _nan_as_null(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_nan_as_null(each) for each in value]
    if isinstance(value, float):
        return None if isnan(value) else value
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return _nan_as_null(value.tolist())
    return value


def _plain(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return value.tolist()
    pandas = sys.modules.get("pandas")
    if pandas is not None and (value is pandas.NA or value is pandas.NaT):
        return None
    raise TypeError(f"a value of type {type(value).__name__}")


def _has_names_that_are_no_text(value: Any) -> bool:
    if isinstance(value, dict):
        return not all(isinstance(name, str) for name in value) or any(map(_has_names_that_are_no_text, value.values()))
    if not isinstance(value, (list, tuple)) or _ONE_VALUE.issuperset(map(type, value)):
        return False
    return any(map(_has_names_that_are_no_text, value))


def _refuse_equal_names(members: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in members]
    if len(set(names)) != len(names):
        raise ValueError("an object has two names that become the same text, as 1 and '1' do")
