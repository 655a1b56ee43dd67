"""Checks inputs as they stand in JSON, at the speed of a parser and without values of Python's that nobody needs.

What fits here fits the signature, by the same rules as `input_checks`. What does not fit may be valid all the same, or
has to be named in an error: the caller parses it and calls `Signature.check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType
from msgspec.json import Decoder

from registry.signatures.input_checks import Dtype
from registry.signatures.layout import FieldLayout, InputLayout, ValuesLayout, read
from registry.signatures.number_types import FLOAT_OVERFLOWS_AT, INTEGER_BOUNDS, Storage

Text = bytes | Raw
#: Parsers of signatures, which have the same text for each process that reads the same version.
_MOST_SIGNATURES = 1_000
#: Parsers differ in what they make of longer integers.
_MOST_EXACT = 2.0**63
_TYPES: Mapping[Dtype, Any] = {Dtype.FLOAT: float, Dtype.BOOL: bool, Dtype.STR: str}


class _NotChecked(Exception):
    """No type of the parser says the same as the signature."""


class JsonCheck:
    """Checks inputs of one signature."""

    def __init__(self, layout: InputLayout) -> None:
        self._one: Decoder[Any] | None = None
        self._many: Decoder[Any] | None = None
        try:
            kind = _type_of_input(layout)
            self._one = Decoder(kind)
            self._many = Decoder(_list_of(kind, None))
        except (_NotChecked, ValueError, TypeError):  # or a field has a name that no parser of structs takes
            pass

    def fits(self, text: Text) -> bool:
        """Whether a text is JSON of an input that certainly fits."""
        return self._one is not None and _is_decoded(self._one, text)

    def all_fit(self, text: Text) -> bool:
        """Whether a text is JSON of a list of one or more inputs that certainly fit."""
        return self._many is not None and _is_decoded(self._many, text)


@lru_cache(maxsize=_MOST_SIGNATURES)
def of_document(document: bytes) -> JsonCheck:
    """Return the check of the signature with this document, in JSON."""
    return JsonCheck(read(msgspec.json.decode(document)))


def _is_decoded(decoder: Decoder[Any], text: Text) -> bool:
    try:
        decoder.decode(text)
    except (ValueError, RecursionError):  # no JSON, of another type, or not UTF-8
        return False
    return True


def _type_of_input(layout: InputLayout) -> Any:
    if layout.fields is None:
        return _type_of_values(layout)
    fields = [(f"field_{number}", *_field(each)) for number, each in enumerate(layout.fields.values())]
    names = {f"field_{number}": name for number, name in enumerate(layout.fields)}
    return msgspec.defstruct("Input", fields, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False)


def _field(layout: FieldLayout) -> tuple[Any, ...]:
    kind = _type_of_values(layout)
    return (kind,) if layout.required else (kind | UnsetType, UNSET)


def _type_of_values(layout: ValuesLayout) -> Any:
    # The first list determines a free length of the inner ones; the parser can't compare them.
    if layout.categories is not None or None in layout.shape[1:]:
        raise _NotChecked
    kind = _integer(layout.storage) if layout.dtype is Dtype.INT else _TYPES[layout.dtype or Dtype.FLOAT]
    if layout.dtype is Dtype.FLOAT:
        limit = min(_MOST_EXACT, FLOAT_OVERFLOWS_AT.get(layout.storage, _MOST_EXACT) if layout.storage else _MOST_EXACT)
        kind = Annotated[kind, Meta(gt=-limit, lt=limit)]
    if layout.nullable:
        kind = kind | None
    for length in reversed(layout.shape):
        kind = _list_of(kind, length)
    return kind


def _list_of(kind: Any, length: int | None) -> Any:
    return Annotated[list[kind], Meta(min_length=length or 1, max_length=length)]


def _integer(storage: Storage | None) -> Any:
    least, most = INTEGER_BOUNDS[storage or Storage.INT64]
    return Annotated[int, Meta(ge=least, le=most)]  # a ValueError for unsigned ones of 64 bits
