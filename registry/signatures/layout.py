"""The layout of an input, from which runtimes convert rows; unlike `signature`, it checks nothing.

A model host, which may run without pydantic, reads it from a signature's document. A `Signature` is a layout as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, Protocol, Union

from registry.signatures.enums import StrEnum
from registry.signatures.input_checks import Category, Dtype
from registry.signatures.number_types import Storage

_Length = Optional[int]
_Places = Union[bool, tuple[bool, ...], None]


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


class ValuesLayout(Protocol):
    """The values of an input or of one of its fields; `signature.Values` explains them."""

    @property
    def dtype(self) -> Dtype | None:
        """The dtype; None for named inputs."""
        ...

    @property
    def shape(self) -> tuple[_Length, ...]:
        """() is a single value; None is any length except 0."""
        ...

    @property
    def storage(self) -> Storage | None:
        """The model's number type; None: 64 bits."""
        ...

    @property
    def nullable(self) -> bool:
        """Whether null is allowed, as a missing value."""
        ...

    @property
    def categories(self) -> tuple[Category, ...] | None:
        """All allowed values; None: any."""
        ...

    @property
    def keeps_integers(self) -> _Places:
        """Whether, or where, numbers without a fraction become integers."""
        ...


class FieldLayout(ValuesLayout, Protocol):
    """One field of a named input."""

    @property
    def required(self) -> bool:
        """Whether it must be present."""
        ...


class InputLayout(ValuesLayout, Protocol):
    """A whole input."""

    @property
    def kind(self) -> Kind:
        """The form of the input."""
        ...

    @property
    def fields(self) -> Mapping[str, FieldLayout] | None:
        """The fields of a named input; None for others."""
        ...


@dataclass(frozen=True)
class LoadedValues:
    """A `FieldLayout` that was read from a document."""

    dtype: Dtype | None
    shape: tuple[_Length, ...] = ()
    storage: Storage | None = None
    nullable: bool = False
    categories: tuple[Category, ...] | None = None
    keeps_integers: _Places = None
    required: bool = True


@dataclass(frozen=True)
class LoadedInput(LoadedValues):
    """An `InputLayout` that was read from a document."""

    kind: Kind = Kind.SCALAR
    fields: Mapping[str, LoadedValues] | None = None


def read(document: Mapping[str, Any]) -> LoadedInput:
    """Read the document of a checked signature."""
    kind, fields = Kind(document["kind"]), document.get("fields")
    by_default = [None] if kind is Kind.VECTOR else []
    return LoadedInput(
        **_values(document, by_default),
        kind=kind,
        fields=None if fields is None else {name: LoadedValues(**_values(each, [])) for name, each in fields.items()},
    )


def of_one_value(values: ValuesLayout) -> LoadedValues:
    """Return the layout of a single value of several."""
    return LoadedValues(values.dtype, (), values.storage, values.nullable, values.categories, values.keeps_integers)


def _values(document: Mapping[str, Any], default_shape: list[Any]) -> dict[str, Any]:
    dtype, storage, kept = (document.get(name) for name in ("dtype", "storage", "keeps_integers"))
    if dtype in {each.value for each in Storage}:
        # A document may name a storage as the dtype.
        dtype, storage = (Dtype.FLOAT if Storage(dtype).is_float else Dtype.INT), storage or dtype
    categories = document.get("categories")
    return {
        "dtype": None if dtype is None else Dtype(dtype),
        "shape": tuple(document.get("shape", default_shape)),
        "storage": None if storage is None else Storage(storage),
        "nullable": bool(document.get("nullable")),
        "categories": None if categories is None else tuple(categories),
        "keeps_integers": tuple(kept) if isinstance(kept, (list, tuple)) else kept,
        "required": document.get("required", True),
    }
