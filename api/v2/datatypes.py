"""The protocol's datatypes: raw bytes to plain values and back; knows neither models nor JSON. Loads no numpy."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.signatures.input_checks import Dtype
from registry.signatures.number_types import Storage

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Datatype:
    """One datatype; `item_bytes` is 0 for BYTES, whose elements are of any length."""

    name: str
    item_bytes: int
    #: Bytes -> values; raises ValueError if they are no such values.
    decode: Callable[[memoryview], list[Any]]
    encode: Callable[[Sequence[Any]], bytes]
    #: What of a model's input it can be.
    takes: frozenset[Dtype]
    #: Python's types of its elements in JSON.
    json_types: frozenset[type]
    least: int | None = None
    most: int | None = None


def _numbers(name: str, code: str, least: int | None = None, most: int | None = None) -> Datatype:
    is_integer = least is not None

    def decode(raw: memoryview) -> list[Any]:
        values = array(code)
        values.frombytes(raw)
        if sys.byteorder == "big":
            values.byteswap()
        return values.tolist()

    def encode(values: Sequence[Any]) -> bytes:
        packed = array(code, values)
        if sys.byteorder == "big":
            packed.byteswap()
        return packed.tobytes()

    takes = frozenset({Dtype.FLOAT, Dtype.INT} if is_integer else {Dtype.FLOAT})
    types: frozenset[type] = frozenset({int} if is_integer else {int, float})
    return Datatype(name, array(code).itemsize, decode, encode, takes, types, least, most)


def _signed(name: str, code: str) -> Datatype:
    bits = array(code).itemsize * 8
    return _numbers(name, code, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _unsigned(name: str, code: str) -> Datatype:
    return _numbers(name, code, 0, 2 ** (array(code).itemsize * 8) - 1)


def _decode_halves(raw: memoryview) -> list[float]:
    return list(struct.unpack(f"<{len(raw) // 2}e", raw))


def _encode_halves(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}e", *values)


def _decode_booleans(raw: memoryview) -> list[bool]:
    return list(map(bool, raw))


def _decode_texts(raw: memoryview) -> list[str]:
    texts, at = [], 0
    while at < len(raw):
        if at + _LENGTH.size > len(raw):
            raise ValueError("the length of its last element is cut off")
        [length] = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if at + length > len(raw):
            raise ValueError("its last element is cut off")
        texts.append(text_of(raw[at : at + length]))
        at += length
    return texts


def text_of(raw: memoryview) -> str:
    """Return the text of one element of BYTES. Raises ValueError if it is not UTF-8."""
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("an element is not UTF-8: this server's models take text, not bytes") from error


def _encode_texts(values: Sequence[str]) -> bytes:
    # A model's text may hold half of a surrogate pair, for which UTF-8 has no word.
    encoded = [each.encode("utf-8", "replace") for each in values]
    return b"".join(part for each in encoded for part in (_LENGTH.pack(len(each)), each))


_FLOAT_ONLY, _BOOL_ONLY, _STR_ONLY = frozenset({Dtype.FLOAT}), frozenset({Dtype.BOOL}), frozenset({Dtype.STR})
_ALL = (
    Datatype("BOOL", 1, _decode_booleans, bytes, _BOOL_ONLY, frozenset({bool})),
    _unsigned("UINT8", "B"),
    _unsigned("UINT16", "H"),
    _unsigned("UINT32", "I"),
    _unsigned("UINT64", "Q"),
    _signed("INT8", "b"),
    _signed("INT16", "h"),
    _signed("INT32", "i"),
    _signed("INT64", "q"),
    Datatype("FP16", 2, _decode_halves, _encode_halves, _FLOAT_ONLY, frozenset({int, float})),
    _numbers("FP32", "f"),
    _numbers("FP64", "d"),
    Datatype("BYTES", 0, _decode_texts, _encode_texts, _STR_ONLY, frozenset({str})),
)
DATATYPES: Mapping[str, Datatype] = {each.name: each for each in _ALL}
#: What metadata calls each dtype of a signature.
OF_DTYPE: Mapping[Dtype, str] = {Dtype.FLOAT: "FP64", Dtype.INT: "INT64", Dtype.BOOL: "BOOL", Dtype.STR: "BYTES"}
_OF_STORAGE: Mapping[Storage, str] = {each: each.value.replace("float", "FP").upper() for each in Storage}


def of_values(dtype: Dtype, storage: Storage | None) -> str:
    """Return what metadata calls values of an input: by how the model stores them, if it says so."""
    return OF_DTYPE[dtype] if storage is None else _OF_STORAGE[storage]
