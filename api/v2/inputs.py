"""Input tensors to rows, as a model's signature says; knows neither HTTP nor jobs.

The first dimension is the batch: each row of it is one input of the model. A tensor without it is one row,
and a column of shape [n, 1] is n single values: nothing else could be meant by either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from api.errors import FieldProblem, RequestInvalid
from api.v2 import elements
from api.v2.datatypes import DATATYPES, Datatype, of_values
from api.v2.schemas import InputTensor
from registry.signatures.input_checks import Dtype, Shape
from registry.signatures.number_types import Storage
from registry.signatures.signature import Signature, Values

#: What the input of a model is called that takes one; any other name does as well.
ONLY_INPUT = "input"


@dataclass(frozen=True)
class Field:
    """One input of a model: its name, what its values are, and the shape of one row."""

    name: str
    dtype: Dtype
    shape: Shape
    storage: Storage | None = None
    is_nullable: bool = False
    is_required: bool = True
    categories: tuple[str | int, ...] | None = None

    @property
    def datatype(self) -> str:
        """The datatype that metadata names; others that hold such values are taken too."""
        return of_values(self.dtype, self.storage)

    @property
    def parameters(self) -> dict[str, Any]:
        """What metadata says beside the datatype: whether it may be missing, and its categories as a JSON list."""
        found: dict[str, Any] = {"nullable": True} if self.is_nullable else {}
        if not self.is_required:
            found["required"] = False
        return found if self.categories is None else {**found, "categories": json.dumps(self.categories)}

    def takes(self, datatype: Datatype) -> bool:
        """Tell whether its values can be sent so; whether they are in its bounds is for the signature to say."""
        # Missing integers are NaN in numpy, and so in floats.
        has_gaps = self.is_nullable and self.dtype is Dtype.INT
        return self.dtype in datatype.takes or (has_gaps and Dtype.FLOAT in datatype.takes)

    def value(self, sent: Any) -> Any:
        """Return one value that was sent as a float: NaN is a missing one, and a whole number may be an integer."""
        if sent != sent:  # noqa: PLR0124 - NaN alone is not itself
            return None
        return int(sent) if self.dtype is Dtype.INT and isinstance(sent, float) and sent.is_integer() else sent

    @property
    def dims(self) -> list[int]:
        """The shape of one row, in the protocol's words."""
        return [-1 if length is None else length for length in self.shape]


def fields_of(signature: Signature) -> list[Field]:
    """Return the inputs of a model: the fields of a named signature, otherwise one."""
    if signature.fields is not None:
        return [_field(name, each, is_required=each.required) for name, each in signature.fields.items()]
    return [_field(ONLY_INPUT, signature)]


def _field(name: str, values: Values, *, is_required: bool = True) -> Field:
    assert values.dtype is not None  # noqa: S101 - the signature has seen to it
    return Field(name, values.dtype, values.shape, values.storage, values.nullable, is_required, values.categories)


def rows_of(signature: Signature, tensors: Sequence[InputTensor], tail: memoryview) -> list[Any]:
    """Return the rows that these tensors hold; `tail` has the bytes of those that are binary, in their order.

    Raises:
        RequestInvalid: a tensor is missing, unknown, or doesn't hold what it says; names it.
    """
    raws = elements.raws_of(tensors, tail)
    fields = {each.name: each for each in fields_of(signature)}
    if signature.fields is None:
        # With one input and one tensor a name tells nothing, and every server's clients have another one.
        if len(tensors) != 1:
            raise RequestInvalid.of("inputs", f"holds {len(tensors)} tensors; this model takes one")
        return _rows(fields[ONLY_INPUT], tensors[0], raws[0], "inputs[0]")
    columns: dict[str, list[Any]] = {}
    for index, (tensor, raw) in enumerate(zip(tensors, raws, strict=True)):
        field = fields.get(tensor.name)
        if field is None or tensor.name in columns:
            known = ", ".join(fields)[:500]
            raise RequestInvalid.of(
                f"inputs[{index}].name", f"must be each of these once: {known}; it is {tensor.name[:100]!r}"
            )
        columns[tensor.name] = _rows(field, tensor, raw, f"inputs[{index}]")
    return _records(fields, columns)


def rows_of_raw(signature: Signature, raw: memoryview) -> list[Any]:
    """Return the rows of a body that is one raw input of the datatype that metadata names, without any JSON.

    Raises:
        RequestInvalid: the model takes several inputs, or the bytes don't make whole rows.
    """
    fields = fields_of(signature)
    if len(fields) != 1:
        raise RequestInvalid.of("inputs", f"must be named: the model takes {len(fields)}")
    [field] = fields
    datatype = DATATYPES[field.datatype]
    if not datatype.item_bytes:  # all of it is one text, as the protocol has it
        shape, values = [1] * (len(field.shape) + 1), [elements.text(raw, "inputs[0]")]
    else:
        values = _given(field, datatype, elements.unpacked(datatype, raw, "inputs[0]"))
        shape = _shape_of_raw(field, len(values))
    rows = _batch(field, shape, values, "inputs[0]")
    return rows if signature.fields is None else [{field.name: each} for each in rows]


def _shape_of_raw(field: Field, count: int) -> list[int]:
    known = prod(length for length in field.shape if length is not None)
    free = sum(length is None for length in field.shape)
    if free > 1 or count == 0 or count % known:
        raise RequestInvalid.of(
            "inputs", f"must be named: {count} values of {field.datatype} make no shape {field.dims}"
        )
    if not free:
        return [count // known, *field.dims]
    return [1, *(count // known if length is None else length for length in field.shape)]


def _records(fields: Mapping[str, Field], columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    missing = [name for name, each in fields.items() if each.is_required and name not in columns]
    if missing:
        raise RequestInvalid([FieldProblem("inputs", f"must hold {name[:100]!r}") for name in missing[:20]])
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) > 1:
        raise RequestInvalid.of("inputs", f"must have equally many rows; they have {str(counts)[:500]}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _rows(field: Field, tensor: InputTensor, raw: memoryview | None, path: str) -> list[Any]:
    datatype = DATATYPES.get(tensor.datatype)
    if datatype is None:
        raise RequestInvalid.of(
            f"{path}.datatype", f"must be one of {', '.join(DATATYPES)}; it is {tensor.datatype[:40]!r}"
        )
    if not field.takes(datatype):
        fitting = ", ".join(name for name, each in DATATYPES.items() if field.takes(each))
        raise RequestInvalid.of(f"{path}.datatype", f"must be one of {fitting} for this model; it is {tensor.datatype}")
    values = elements.of(datatype, tensor, raw, path, nullable=field.is_nullable)
    return _batch(field, tensor.shape, _given(field, datatype, values), path)


def _given(field: Field, datatype: Datatype, values: list[Any]) -> list[Any]:
    """Return the values as JSON has them; NaN and infinity stay where none may be missing, and are refused later."""
    return list(map(field.value, values)) if field.is_nullable and datatype.name.startswith("FP") else values


def _batch(field: Field, shape: Sequence[int], values: list[Any], path: str) -> list[Any]:
    """Cut a tensor's elements into rows."""
    if len(shape) == len(field.shape) and _fits(shape, field.shape):
        count, row_shape = 1, list(shape)
    elif len(shape) == len(field.shape) + 1 and _fits(shape[1:], field.shape):
        count, row_shape = shape[0], list(shape[1:])
    elif not field.shape and len(shape) == 2 and shape[1] == 1:
        count, row_shape = shape[0], []
    else:
        raise RequestInvalid.of(
            f"{path}.shape", f"must be {[-1, *field.dims]}, where -1 is any length; it is {list(shape)}"
        )
    if not count:
        raise RequestInvalid.of(f"{path}.shape", "must have one row or more")
    for length in reversed(row_shape):
        values = [values[at : at + length] for at in range(0, len(values), length)]
    return values


def _fits(shape: Sequence[int], wanted: Shape) -> bool:
    return all(length and want in (None, length) for length, want in zip(shape, wanted, strict=True))
