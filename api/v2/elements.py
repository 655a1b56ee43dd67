"""The elements of input tensors, from JSON or from raw bytes, as flat lists in row-major order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any

from api.errors import RequestInvalid
from api.v2.datatypes import Datatype, text_of
from api.v2.schemas import InputTensor

_SHARED_MEMORY = "shared_memory_region"


def raws_of(tensors: Sequence[InputTensor], tail: memoryview) -> list[memoryview | None]:
    """Return the raw bytes of each tensor, None for one that is in JSON; `tail` has them in the tensors' order.

    Raises:
        RequestInvalid: the sizes that the tensors say are not those of `tail`.
    """
    raws: list[memoryview | None] = []
    at = 0
    for index, tensor in enumerate(tensors):
        size = tensor.parameters.get("binary_data_size")
        if _SHARED_MEMORY in tensor.parameters:
            raise RequestInvalid.of(f"inputs[{index}].parameters", "can't name shared memory here")
        if size is None:
            raws.append(None)
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(tail) - at:
            left = f"the body has {len(tail) - at} bytes left for it"
            raise RequestInvalid.of(f"inputs[{index}].parameters.binary_data_size", f"is {str(size)[:40]}; {left}")
        raws.append(tail[at : at + size])
        at += size
    if at != len(tail):
        raise RequestInvalid.of("inputs", f"say they are {at} bytes after the JSON; there are {len(tail)}")
    return raws


def of(
    datatype: Datatype, tensor: InputTensor, raw: memoryview | None, path: str, *, nullable: bool = False
) -> list[Any]:
    """Return a tensor's elements; in JSON they may be null if it is `nullable`.

    Raises:
        RequestInvalid: they are not as many as its shape says, or not of its datatype; names the place.
    """
    if raw is not None:
        return _counted(datatype, tensor, raw, path)
    values = _listed(tensor, path)
    _check_elements(datatype, [each for each in values if each is not None] if nullable else values, path)
    return values


def unpacked(datatype: Datatype, raw: memoryview, path: str) -> list[Any]:
    """Return the elements of raw bytes. Raises RequestInvalid if they aren't such."""
    if datatype.item_bytes and len(raw) % datatype.item_bytes:
        raise RequestInvalid.of(path, f"has {len(raw)} bytes, which are no whole elements of {datatype.name}")
    try:
        return datatype.decode(raw)
    except ValueError as error:
        raise RequestInvalid.of(path, f"can't be read: {error}") from error


def text(raw: memoryview, path: str) -> str:
    """Return raw bytes as one text. Raises RequestInvalid if they aren't UTF-8."""
    try:
        return text_of(raw)
    except ValueError as error:
        raise RequestInvalid.of(path, f"can't be read: {error}") from error


def _counted(datatype: Datatype, tensor: InputTensor, raw: memoryview, path: str) -> list[Any]:
    count = prod(tensor.shape)
    if datatype.item_bytes and len(raw) != count * datatype.item_bytes:
        expected = f"{count * datatype.item_bytes} bytes for {datatype.name} of shape {tensor.shape}"
        raise RequestInvalid.of(f"{path}.parameters.binary_data_size", f"is {len(raw)}; it must be {expected}")
    values = unpacked(datatype, raw, path)
    if len(values) != count:
        raise RequestInvalid.of(path, f"holds {len(values)} elements; its shape {tensor.shape} means {count}")
    return values


def _listed(tensor: InputTensor, path: str) -> list[Any]:
    """Return the elements of a tensor in JSON, nested or flat, in row-major order."""
    count = prod(tensor.shape)
    values = tensor.data if isinstance(tensor.data, list) else [tensor.data] if tensor.shape == [] else None
    if values is None:
        raise RequestInvalid.of(
            f"{path}.data", "must be a list, or parameters.binary_data_size say how many bytes it is"
        )
    depth = 0
    while values and isinstance(values[0], list) and depth < len(tensor.shape) - 1:
        inner = prod(tensor.shape[: depth + 1])
        length = tensor.shape[depth + 1]
        if len(values) != inner or not all(isinstance(each, list) and len(each) == length for each in values):
            raise RequestInvalid.of(f"{path}.data", f"is nested otherwise than its shape {tensor.shape}")
        values = list(chain.from_iterable(values))
        depth += 1
    if len(values) != count:
        raise RequestInvalid.of(f"{path}.data", f"holds {len(values)} elements; its shape {tensor.shape} means {count}")
    return values


def _check_elements(datatype: Datatype, values: list[Any], path: str) -> None:
    wrong = set(map(type, values)) - datatype.json_types
    if wrong:
        found = ", ".join(sorted("null" if each is type(None) else each.__name__ for each in wrong))
        raise RequestInvalid.of(f"{path}.data", f"must hold {datatype.name} alone; it holds {found}")
    if values and datatype.least is not None and datatype.most is not None:
        for each in (min(values), max(values)):
            if not datatype.least <= each <= datatype.most:
                raise RequestInvalid.of(f"{path}.data", f"holds {str(each)[:40]}, which is no {datatype.name}")
