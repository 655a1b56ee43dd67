"""Short and safe descriptions of values from clients, for error messages."""

from __future__ import annotations

import math

_SHOWN_LENGTH = 40
_LONGEST_SHOWN_BITS = 128
_FIELDS_SHOWN = 5
_DIGITS_PER_BIT = math.log10(2)


def describe(value: object) -> str:
    """Describe a JSON value, e.g. "a string: 'abc'", without traversing it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return _integer(value) if isinstance(value, int) else _float(value)
    if isinstance(value, str):
        return f"a string: {shortened(str.__str__(value))!r}"
    if isinstance(value, (list, tuple)):
        return "an empty list" if not value else f"a list of {len(value)} value{'s' if len(value) > 1 else ''}"
    return _object(value) if isinstance(value, dict) else f"a {type(value).__name__}"


def shortened(text: str) -> str:
    """Return the text, truncated if it is long."""
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"


def _integer(value: int) -> str:
    if value.bit_length() > _LONGEST_SHOWN_BITS:
        # Python refuses to format very long integers.
        return f"an integer of about {int(value.bit_length() * _DIGITS_PER_BIT) + 1} digits"
    return f"the integer {int.__repr__(value)}"


def _float(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return f"the number {float.__repr__(value)}"


def _object(value: dict[object, object]) -> str:
    if not value:
        return "an empty object"
    names = [shortened(str(name)) for name, _ in zip(value, range(_FIELDS_SHOWN))]
    more = ", …" if len(value) > _FIELDS_SHOWN else ""
    return f"an object with the fields {', '.join(names)}{more}"
