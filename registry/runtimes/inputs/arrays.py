"""Converts JSON values to arrays of a declared dtype, without loss; dtypes are never guessed from a batch."""

from __future__ import annotations

from itertools import chain
from typing import Any

from registry.errors import InputUnsuitable
from registry.signatures.descriptions import describe


def array_of(values: list[Any], dtype: str, name: str, *, exact: bool = False) -> Any:
    """Return values, or lists (of lists) of equal length, as an array of numpy's `dtype`.

    null becomes NaN in floats, and stays None in objects. Floats are rounded to the nearest, except integers if
    `exact` is set.

    Raises:
        InputUnsuitable: the dtype can't contain a value, or the lists differ in length; the message contains `name`.
    """
    import numpy as np

    if dtype == "float64" and not exact:
        return _doubles(values, name)
    flat, shape = _flat(values, name)
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        flat = _whole_numbers(flat, int(np.iinfo(kind).min), int(np.iinfo(kind).max), dtype, name)
    elif kind.kind == "f":
        return _floats(flat, kind, name, exact=exact).reshape(shape)
    elif kind.kind == "b":
        flat = _truths(flat, name)
    elif kind.kind == "U":
        _check_texts(flat, name)
    return np.array(flat, dtype=kind).reshape(shape)


def _doubles(values: list[Any], name: str) -> Any:
    """Return the array of most inputs: numbers that are already checked."""
    import numpy as np

    try:
        return np.array(values, dtype="float64")
    except (TypeError, ValueError, OverflowError) as error:
        raise InputUnsuitable(f"{name} must be numbers, in lists of one length: {error}.") from error


def shape_of(value: Any) -> tuple[int, ...]:
    """Return the shape of regular nested lists; () for a single value."""
    shape: list[int] = []
    while isinstance(value, (list, tuple)):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _flat(values: list[Any], name: str) -> tuple[list[Any], tuple[int, ...]]:
    """Return the values of nested lists in row-major order, and their shape."""
    shape = [len(values)]
    while values and isinstance(values[0], (list, tuple)):
        lengths = {len(each) if isinstance(each, (list, tuple)) else -1 for each in values}
        if len(lengths) > 1:
            raise InputUnsuitable(f"{name} has lists of different lengths, which can't be an array.")
        shape += lengths
        values = list(chain.from_iterable(values))
    return values, tuple(shape)


def _whole_numbers(flat: list[Any], least: int, most: int, dtype: str, name: str) -> list[int]:
    if set(map(type, flat)) != {int}:
        flat = [int(each) if isinstance(each, float) and each.is_integer() else each for each in flat]
    for each in flat if not set(map(type, flat)) <= {int, bool} else (min(flat), max(flat)):
        if not isinstance(each, int) or not least <= each <= most:
            words = f"whole numbers from {least} to {most} ({dtype})"
            raise InputUnsuitable(f"{name} must be {words}, not {_describe(each)}.")
    return flat


def _floats(flat: list[Any], kind: Any, name: str, *, exact: bool) -> Any:
    import numpy as np

    try:
        with np.errstate(over="ignore"):
            made = np.array(flat, dtype="float64").astype(kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputUnsuitable(f"{name} must be numbers ({kind}): {error}.") from error
    if np.isinf(made).any():
        most = f"{np.finfo(kind).max:.8g}"
        raise InputUnsuitable(f"{name} must be numbers from -{most} to {most} ({kind}); one is out of this range.")
    if exact:
        _check_exact(flat, made, name)
    return made


def _check_exact(flat: list[Any], made: Any, name: str) -> None:
    for sent, stored in zip(flat, made.tolist()):
        if isinstance(sent, int) and stored != sent:
            bits = 8 * made.dtype.itemsize
            raise InputUnsuitable(f"{name} is a {bits}-bit float in the model, which can't hold the integer {sent}.")


def _truths(flat: list[Any], name: str) -> list[bool]:
    for each in flat:
        if each not in (0, 1):
            raise InputUnsuitable(f"{name} must be true or false, not {_describe(each)}.")
    return flat


def _check_texts(flat: list[Any], name: str) -> None:
    for each in flat:
        if not isinstance(each, str) or each.endswith("\0"):
            raise InputUnsuitable(f"{name} must be texts that don't end with a null character, not {_describe(each)}.")


def _describe(value: Any) -> str:
    return describe(value) if value is None or isinstance(value, (bool, int, float, str)) else "a list"
