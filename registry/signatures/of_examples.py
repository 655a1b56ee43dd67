"""Derives signatures from input examples; numbers of an example represent any finite numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from registry.errors import SignatureInvalid
from registry.signatures.descriptions import describe
from registry.signatures.input_checks import Dtype

#: The most dimensions of an input.
MAX_DIMENSIONS = 8


def document_of(example: Any) -> dict[str, Any]:
    """Return the document of a signature that matches the example.

    Raises:
        SignatureInvalid: the example is not a value, a list (of lists) of values, or an object of those.
    """
    if isinstance(example, dict):
        fields = {name: _values(each, f"input_example.{name}") for name, each in example.items()}
        return {"kind": "named", "fields": fields}
    inner = _values(example, "input_example")
    if all(each is None for each in _flat(example)):
        raise SignatureInvalid("input_example contains only null, so it has no signature; pass a signature.")
    return {"kind": ("scalar", "vector", "tensor")[min(len(inner["shape"]), 2)], **inner}


def integer_places(example: Any, shape: tuple[int | None, ...]) -> bool | tuple[bool, ...]:
    """Return whether an example is an integer, or at which positions a vector has integers."""
    if not shape:
        return type(example) is int
    if len(shape) > 1 or not isinstance(example, (list, tuple)):
        return False
    places = tuple(type(each) is int for each in example)
    if all(places) or not any(places):
        return all(places)
    return places if len(places) == shape[0] else False


def _values(value: Any, path: str) -> dict[str, Any]:
    shape = _shape(value, path)
    elements = list(_flat(value))
    given = [each for each in elements if each is not None]
    # A null field shows that null is allowed, but not the dtype: missing values are mostly numbers.
    document = {"dtype": _dtype(given[0], path) if given else Dtype.FLOAT, "shape": shape}
    return document if len(given) == len(elements) else {**document, "nullable": True}


def _shape(value: Any, path: str) -> tuple[int, ...]:
    shape: list[int] = []
    first = value
    while isinstance(first, (list, tuple)):
        if not first or len(shape) == MAX_DIMENSIONS:
            raise SignatureInvalid(f"{path} contains an empty list, or more than {MAX_DIMENSIONS} nested lists.")
        shape.append(len(first))
        first = first[0]
    return tuple(shape)


def _flat(value: Any) -> Iterator[Any]:
    """Yield the values of nested lists; lists nested deeper than a signature allows stay lists."""
    level = [value]
    for _ in range(MAX_DIMENSIONS):
        if not any(isinstance(each, (list, tuple)) for each in level):
            break
        level = [inner for each in level for inner in (each if isinstance(each, (list, tuple)) else [each])]
    yield from level


def _dtype(value: Any, path: str) -> Dtype:
    if isinstance(value, bool):
        return Dtype.BOOL
    if isinstance(value, (int, float)):
        # An example of 3 doesn't exclude 2.5; a signature can.
        return Dtype.FLOAT
    if isinstance(value, str):
        return Dtype.STR
    raise SignatureInvalid(f"{path} contains {describe(value)}: no signature can be derived from it; pass a signature.")
