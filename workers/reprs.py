"""Short texts of inputs and outcomes: what Flower and `celery events` show of them."""

from __future__ import annotations

import reprlib

_repr = reprlib.Repr()
_repr.maxlist = _repr.maxtuple = _repr.maxdict = 20
_repr.maxstring = _repr.maxother = 100
_LIMIT = 500


def short_repr(value: object) -> str:
    """Return a bounded text of a value."""
    return _repr.repr(value)[:_LIMIT]
