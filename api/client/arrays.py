"""Inputs as JSON, and predictions as arrays where the input was one; numpy is used only if the caller has it."""

from __future__ import annotations

import json
import sys
from typing import Any

from api.client.errors import InputNotJson


def to_json(document: Any) -> bytes:
    """Return a document as JSON; numpy's arrays and numbers in it are lists and numbers.

    Raises:
        InputNotJson: JSON can't say it.
    """
    try:
        return json.dumps(document, allow_nan=False, default=_plain, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputNotJson(
            f"This can't be said in JSON, which has no NaN, no infinity and no bytes: {error}"
        ) from error


def is_array(value: Any) -> bool:
    """Tell whether this is a numpy array."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def like_input(prediction: Any) -> Any:
    """Return a prediction for an input that was an array.

    Lists of numbers, texts or truth values, nested evenly, become arrays, also those in a dict; all else stays.
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
    return array if array.dtype.kind in "biufU" and _same_kind(prediction) else prediction


def _same_kind(values: list[Any]) -> bool:
    """Whether numpy has not made texts of numbers, or numbers of truth values: a list of both is no array."""
    kinds = {float if kind is int else kind for kind in set(map(type, values))}
    if kinds == {list}:
        return all(map(_same_kind, values))
    return len(kinds) <= 1


def _plain(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__}")
