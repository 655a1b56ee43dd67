"""Short texts of inputs and outcomes: what Flower and `celery events` show of them."""

from __future__ import annotations

import reprlib

_LIMIT = 500
_LONG_BITS = 1_024
#: Of what stands in every message: enough to know an input again.
_TEXT_LIMIT_BYTES = 250


class _Short(reprlib.Repr):
    """Python's own, which fails at integers of thousands of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = 20
        self.maxstring = self.maxother = 100

    def repr_int(self, x: int, level: int) -> str:
        """Say of a long integer only how long it is."""
        if x.bit_length() > _LONG_BITS:
            return f"<int of {x.bit_length()} bits>"
        return super().repr_int(x, level)


_repr = _Short()


def short_repr(value: object) -> str:
    """Return a bounded text of a value."""
    return _repr.repr(value)[:_LIMIT]


def short_text(content: bytes) -> str:
    """Return the beginning of a JSON text, for what is known as such already: it costs next to nothing."""
    if len(content) <= _TEXT_LIMIT_BYTES:
        return content.decode()
    return content[:_TEXT_LIMIT_BYTES].decode(errors="ignore") + "…"
