"""Short texts of inputs and outcomes: what Flower and `celery events` show of them."""

from __future__ import annotations

import reprlib

_LIMIT = 500
_LONG_BITS = 1_024


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
