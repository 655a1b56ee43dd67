"""Signatures: the kind, dtypes and shapes of a model's input; imports no numpy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError, model_validator

from registry.errors import InputInvalid, SignatureInvalid
from registry.signatures import json_checks
from registry.signatures.descriptions import describe, shortened
from registry.signatures.input_checks import Dtype, Rule, Shape, check_value, rule_of
from registry.signatures.json_checks import JsonCheck
from registry.signatures.layout import Kind
from registry.signatures.number_types import FLOAT_MAX, INTEGER_BOUNDS, Storage
from registry.signatures.of_examples import MAX_DIMENSIONS, document_of, integer_places
from registry.wrong_values import wrong_values

MAX_CATEGORIES = 10_000
Length = Annotated[int, Field(ge=1)]
FieldName = Annotated[str, Field(min_length=1, max_length=200)]
Category = StrictStr | StrictInt
_JSON_TYPES: Mapping[Dtype, str] = {
    Dtype.FLOAT: "number",
    Dtype.INT: "integer",
    Dtype.BOOL: "boolean",
    Dtype.STR: "string",
}


class Values(BaseModel):
    """The values of an input or of one of its fields.

    A document may name a storage as the dtype: `int32` means the dtype `int` with the storage `int32`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: Dtype | None = None
    #: () is a single value; None is any length except 0.
    shape: tuple[Length | None, ...] = Field(default=(), max_length=MAX_DIMENSIONS)
    #: The model's number type; values out of its range are refused. None: 64 bits.
    storage: Storage | None = None
    #: Whether null is allowed, as a missing value.
    nullable: StrictBool = False
    #: All allowed values, in the order of the model's fit; None: any.
    categories: tuple[Category, ...] | None = Field(default=None, min_length=1, max_length=MAX_CATEGORIES)
    #: Whether (or at which positions of a vector) numbers without a fraction become integers in a data frame,
    #: like those of the example. None: not specified.
    keeps_integers: StrictBool | tuple[StrictBool, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _storage_named_as_dtype(cls, document: Any) -> Any:
        if not isinstance(document, dict) or document.get("dtype") not in list(Storage):
            return document
        storage = Storage(document["dtype"])
        return {"storage": storage, **document, "dtype": Dtype.FLOAT if storage.is_float else Dtype.INT}

    @model_validator(mode="after")
    def _storage_and_categories_are_of_the_dtype(self) -> Self:
        if self.storage is not None and self.dtype is not (Dtype.FLOAT if self.storage.is_float else Dtype.INT):
            raise ValueError(f'the "storage" {self.storage} can\'t contain values of the "dtype" {self.dtype}')
        if self.categories is None:
            return self
        if self.dtype not in {Dtype.STR, Dtype.INT} or self.shape:
            raise ValueError('"categories" require a single value of the "dtype" str or int')
        is_one = rule_of(self.dtype, self.storage).is_one
        if len(set(self.categories)) < len(self.categories) or not all(map(is_one, self.categories)):
            raise ValueError(f'"categories" must be different values of the "dtype" {self.dtype}')
        return self

    @cached_property
    def rule(self) -> Rule:
        """The rule for a single value."""
        assert self.dtype is not None  # noqa: S101 - ensured by the validators
        return rule_of(self.dtype, self.storage, self.categories, nullable=self.nullable)

    def values_document(self) -> dict[str, Any]:
        """Return the values as a JSON document, without defaults."""
        document: dict[str, Any] = {"dtype": self.dtype, "shape": list(self.shape)}
        if self.storage is not None:
            document["storage"] = self.storage.value
        if self.nullable:
            document["nullable"] = True
        if self.categories is not None:
            document["categories"] = list(self.categories)
        if self.keeps_integers is not None:
            kept = self.keeps_integers
            document["keeps_integers"] = kept if isinstance(kept, bool) else list(kept)
        return document

    def value_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a value."""
        schema = self._element_schema()
        for length in reversed(self.shape):
            bounds = {"minItems": 1} if length is None else {"minItems": length, "maxItems": length}
            schema = {"type": "array", "items": schema, **bounds}
        return schema

    def _element_schema(self) -> dict[str, Any]:
        assert self.dtype is not None  # noqa: S101 - ensured by the validators
        json_type = _JSON_TYPES[self.dtype]
        schema: dict[str, Any] = {"type": [json_type, "null"] if self.nullable else json_type}
        if self.categories is not None:
            return {**schema, "enum": [*self.categories, *([None] if self.nullable else [])]}
        if self.dtype is Dtype.INT:
            least, most = INTEGER_BOUNDS[self.storage or Storage.INT64]
            schema |= {"minimum": least, "maximum": most}
        elif self.storage in {Storage.FLOAT16, Storage.FLOAT32}:
            schema |= {"minimum": -FLOAT_MAX[self.storage], "maximum": FLOAT_MAX[self.storage]}
        return schema

    def _as_in_example(self, example: Any, *, explicit: bool) -> Self:
        """Return a copy with `keeps_integers` from an example; an `explicit` signature takes precedence."""
        plain = self.dtype is Dtype.FLOAT and self.storage is None and not self.nullable
        if not plain or self.keeps_integers is not None:
            return self
        places = integer_places(example, self.shape)
        return self.model_copy(update={"keeps_integers": False if explicit else places}) if places else self


class NamedField(Values):
    """One field of a named input."""

    dtype: Dtype
    #: Whether it must be present; an omitted field is a missing value.
    required: StrictBool = True

    @property
    def may_be_missing(self) -> bool:
        """Whether the value can be missing: null, or an omitted field."""
        return self.nullable or not self.required

    def document(self) -> dict[str, Any]:
        """Return the field as a JSON document."""
        return self.values_document() | ({} if self.required else {"required": False})


class Signature(Values):
    """The input of a model; `shape` is () for a scalar, and None in it is any length except 0."""

    kind: Kind
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
            raise ValueError('the kind "named" requires "fields", and no other kind allows them')
        if (self.kind is Kind.NAMED) != (self.dtype is None):
            raise ValueError('every kind except "named" requires a "dtype"; the fields of "named" have their own')
        if self.kind is Kind.NAMED and self.nullable:
            raise ValueError('the kind "named" does not allow "nullable"; its fields have their own')
        if self.kind is not _kind_of(self.shape, self.fields):
            raise ValueError('the "shape" must be [] for a scalar, one length for a vector, two or more for a tensor')
        return self

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """Parse a signature's document.

        Raises:
            SignatureInvalid: it is inconsistent or has unknown fields.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = wrong_values(error)[0]
            place = ".".join(["signature", *map(str, first.location)])
            raise SignatureInvalid(f"{place}: {first.problem}.") from error

    @classmethod
    def stored(cls, document: Mapping[str, Any], example: Any = None) -> Self:
        """Return the signature of a version's row; ignore fields of a newer release.

        Earlier releases stored no `keeps_integers`, which is derived from the example.
        """
        return cls.model_validate(document, extra="ignore").as_in_example(example, explicit=False)

    @classmethod
    def from_example(cls, example: Any) -> Self:
        """Derive the signature from an example; its numbers represent any finite numbers.

        Raises:
            SignatureInvalid: the example is not a value, a list (of lists) of values, or an object of those.
        """
        signature = cls.parse(document_of(example))
        try:
            signature.check(example, "input_example")
        except InputInvalid as error:
            raise SignatureInvalid(str(error)) from error
        return signature.as_in_example(example, explicit=False)

    def as_in_example(self, example: Any, *, explicit: bool) -> Self:
        """Return a copy with `keeps_integers` from an example.

        `explicit`: the signature was given, not derived from the example, so its floats are floats.
        """
        if self.fields is None:
            if isinstance(example, float) and example.is_integer():
                # SQLite stores the number 2.0 as 2, which must not become an integer when it is read.
                return self._as_in_example(int(example), explicit=True)
            return self._as_in_example(example, explicit=explicit)
        if not isinstance(example, dict):
            return self
        fields = {
            name: each._as_in_example(example.get(name), explicit=explicit)  # noqa: SLF001 - a base class of this one
            for name, each in self.fields.items()
        }
        return self.model_copy(update={"fields": fields}) if fields != self.fields else self

    def check(self, value: Any, path: str = "input") -> None:
        """Check one input.

        Raises:
            InputInvalid: it doesn't match; the error has the field, e.g. `input[1]` or `input.age`.
        """
        if self.fields is None:
            check_value(value, self.rule, self.shape, path)
        else:
            _check_named(value, self.fields, path)

    @cached_property
    def json_check(self) -> JsonCheck:
        """The check of inputs that stand in JSON."""
        return json_checks.of_document(msgspec.json.encode(self.document()))

    def document(self) -> dict[str, Any]:
        """Return the signature as a JSON document; `parse` reads it."""
        if self.fields is None:
            return {"kind": self.kind, **self.values_document()}
        return {"kind": self.kind, "fields": {name: each.document() for name, each in self.fields.items()}}

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of an input."""
        if self.fields is None:
            return self.value_schema()
        return {
            "type": "object",
            "properties": {name: each.value_schema() for name, each in self.fields.items()},
            "required": [name for name, each in self.fields.items() if each.required],
            "additionalProperties": False,
        }


def _check_named(value: Any, fields: Mapping[str, NamedField], path: str) -> None:
    if not isinstance(value, dict):
        raise InputInvalid(path, f"an object with the fields {shortened(', '.join(fields))}", describe(value))
    omitted = 0
    for name, each in fields.items():
        if name in value:
            check_value(value[name], each.rule, each.shape, f"{path}.{name}")
        elif each.required:
            raise InputInvalid(f"{path}.{name}", "given", "missing")
        else:
            omitted += 1
    if len(value) > len(fields) - omitted:
        unknown = next(name for name in value if name not in fields)
        known = shortened(", ".join(fields))
        raise InputInvalid(f"{path}.{shortened(str(unknown))}", f"omitted: the fields are {known}", "given")


def _kind_of(shape: Shape, fields: object) -> Kind:
    if fields is not None:
        return Kind.NAMED
    return (Kind.SCALAR, Kind.VECTOR)[len(shape)] if len(shape) <= 1 else Kind.TENSOR
