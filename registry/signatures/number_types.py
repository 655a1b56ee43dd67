"""Number types of models, with their bounds; imports no numpy."""

from __future__ import annotations

from collections.abc import Mapping

from registry.signatures.enums import StrEnum


class Storage(StrEnum):
    """A number type of fixed size, by its name in numpy."""

    #: Whole numbers of 8 to 64 bits, with a sign.
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    #: Whole numbers of 8 to 64 bits, without a sign.
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    #: Floating-point numbers of 16 to 64 bits (IEEE 754); values are rounded to the nearest.
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def is_float(self) -> bool:
        """Whether it is a floating-point type."""
        return self.value.startswith("float")


def _integers(storage: Storage) -> tuple[int, int]:
    bits = int(storage.value.lstrip("uint"))
    return (0, 2**bits - 1) if storage.value.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


#: The least and the greatest whole number.
INTEGER_BOUNDS: Mapping[Storage, tuple[int, int]] = {each: _integers(each) for each in Storage if not each.is_float}
#: The greatest finite number.
FLOAT_MAX: Mapping[Storage, float] = {
    Storage.FLOAT16: 65_504.0,
    Storage.FLOAT32: 3.4028234663852886e38,
    Storage.FLOAT64: 1.7976931348623157e308,
}
#: Numbers from this size on are rounded to infinity: half a step above the greatest one.
FLOAT_OVERFLOWS_AT: Mapping[Storage, float] = {Storage.FLOAT16: 65_520.0, Storage.FLOAT32: 3.4028235677973366e38}
