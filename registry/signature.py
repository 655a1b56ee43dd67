"""What a model takes as input: its kind, dtypes and shapes; loads no numpy."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from registry.descriptions import describe, shortened
from registry.errors import InputInvalid, SignatureInvalid
from registry.input_checks import Dtype, Shape, check_value

MAX_DIMENSIONS = 8
Length = Annotated[int, Field(ge=1)]
FieldName = Annotated[str, Field(min_length=1, max_length=200)]
_JSON_TYPES: Mapping[Dtype, Mapping[str, Any]] = {
    Dtype.FLOAT: {"type": "number"},
    Dtype.INT: {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    Dtype.BOOL: {"type": "boolean"},
    Dtype.STR: {"type": "string"},
}


class Kind(StrEnum):
    """The form of an input."""

    #: One value.
    SCALAR = "scalar"
    #: A list of values.
    VECTOR = "vector"
    #: Lists of lists of values, of two or more dimensions.
    TENSOR = "tensor"
    #: An object whose fields are scalars, vectors or tensors.
    NAMED = "named"


class NamedField(BaseModel):
    """One field of a named input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: Dtype
    #: () is one value; None is any length but 0.
    shape: tuple[Length | None, ...] = Field(default=(), max_length=MAX_DIMENSIONS)


class Signature(BaseModel):
    """What a model takes; `shape` is () for a scalar, and None in it is any length but 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    dtype: Dtype | None = None
    shape: tuple[Length | None, ...] = Field(default=(), max_length=MAX_DIMENSIONS)
    fields: dict[FieldName, NamedField] | None = Field(default=None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _vector_of_any_length(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("kind") == Kind.VECTOR and "shape" not in values:
            return {**values, "shape": [None]}
        return values

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if (self.kind is Kind.NAMED) != (self.fields is not None):
            raise ValueError('"fields" belong to the kind "named", and only to it')
        if (self.kind is Kind.NAMED) != (self.dtype is None):
            raise ValueError('"dtype" belongs to every kind but "named", whose fields have one each')
        if self.kind is not _kind_of(self.shape, self.fields):
            raise ValueError('a scalar has the "shape" [], a vector one of one length, a tensor one of two or more')
        return self

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """Return a signature from its document.

        Raises:
            SignatureInvalid: it contradicts itself or says something unknown.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(["signature", *map(str, first["loc"])])
            raise SignatureInvalid(f"{place}: {first['msg']}.") from error

    @classmethod
    def stored(cls, document: Mapping[str, Any]) -> Self:
        """Return a signature as a version's row has it; what a newer release says beside it is left out."""
        return cls.model_validate(document, extra="ignore")

    @classmethod
    def from_example(cls, example: Any) -> Self:
        """Return the signature that an example shows; its numbers stand for any finite numbers.

        Raises:
            SignatureInvalid: the example is not a value, a list (of lists) of values, or an object of those.
        """
        signature = cls.parse(_document_of(example))
        try:
            signature.check(example, "input_example")
        except InputInvalid as error:
            raise SignatureInvalid(str(error)) from error
        return signature

    def check(self, value: Any, path: str = "input") -> None:
        """Check one input.

        Raises:
            InputInvalid: it doesn't fit; names the place, e.g. `input[1]` or `input.age`.
        """
        if self.fields is None:
            assert self.dtype is not None  # noqa: S101 - the validator has seen to it
            check_value(value, self.dtype, self.shape, path)
        else:
            _check_named(value, self.fields, path)

    def document(self) -> dict[str, Any]:
        """Return the signature as a JSON document; `parse` reads it."""
        return self.model_dump(mode="json", exclude_none=False, exclude=self._unused())

    def _unused(self) -> set[str]:
        return {"dtype", "shape"} if self.kind is Kind.NAMED else {"fields"}

    def json_schema(self) -> dict[str, Any]:
        """Return JSON Schema of one input."""
        if self.fields is None:
            assert self.dtype is not None  # noqa: S101 - the validator has seen to it
            return _value_schema(self.dtype, self.shape)
        return {
            "type": "object",
            "properties": {name: _value_schema(each.dtype, each.shape) for name, each in self.fields.items()},
            "required": list(self.fields),
            "additionalProperties": False,
        }


def _check_named(value: Any, fields: Mapping[str, NamedField], path: str) -> None:
    if not isinstance(value, dict):
        raise InputInvalid(path, f"an object with the fields {shortened(', '.join(fields))}", describe(value))
    for name, each in fields.items():
        if name not in value:
            raise InputInvalid(f"{path}.{name}", "given", "missing")
        check_value(value[name], each.dtype, each.shape, f"{path}.{name}")
    if len(value) > len(fields):
        unknown = next(name for name in value if name not in fields)
        known = shortened(", ".join(fields))
        raise InputInvalid(f"{path}.{shortened(str(unknown))}", f"left out: the fields are {known}", "given")


def _kind_of(shape: Shape, fields: object) -> Kind:
    if fields is not None:
        return Kind.NAMED
    return (Kind.SCALAR, Kind.VECTOR)[len(shape)] if len(shape) <= 1 else Kind.TENSOR


def _value_schema(dtype: Dtype, shape: Shape) -> dict[str, Any]:
    schema = dict(_JSON_TYPES[dtype])
    for length in reversed(shape):
        bounds = {"minItems": 1} if length is None else {"minItems": length, "maxItems": length}
        schema = {"type": "array", "items": schema, **bounds}
    return schema


def _document_of(example: Any) -> dict[str, Any]:
    if isinstance(example, dict):
        fields = {name: _dtype_and_shape(each, f"input_example.{name}") for name, each in example.items()}
        return {"kind": Kind.NAMED, "fields": fields}
    inner = _dtype_and_shape(example, "input_example")
    return {"kind": _kind_of(inner["shape"], None), **inner}


def _dtype_and_shape(value: Any, path: str) -> dict[str, Any]:
    shape: list[int] = []
    first = value
    while isinstance(first, (list, tuple)):
        if not first or len(shape) == MAX_DIMENSIONS:
            raise SignatureInvalid(f"{path} holds an empty list, or more than {MAX_DIMENSIONS} lists in one another.")
        shape.append(len(first))
        first = first[0]
    if isinstance(first, bool):
        dtype = Dtype.BOOL
    elif isinstance(first, (int, float)):
        # An example of 3 doesn't mean that 2.5 is wrong; who means that gives a signature.
        dtype = Dtype.FLOAT
    elif isinstance(first, str):
        dtype = Dtype.STR
    else:
        raise SignatureInvalid(f"{path} holds {describe(first)}: no signature can be taken from it; give one.")
    return {"dtype": dtype, "shape": tuple(shape)}
