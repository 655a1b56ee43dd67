"""Ids of operations from which generators can make names: different also without signs and case.

Generators turn ids into names of functions, files and classes: `a-b`, `a_b` and `A.B` all become `aB`, `a_b` or `AB`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_SIGNS = re.compile(r"[^a-z0-9]+")
_SNAKE_CASE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_SUFFIX_LENGTH = 8


def of_endpoints(endpoint_names: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Return the id of the operation that predicts with each endpoint, by the endpoint's name; none is `taken`.

    An endpoint keeps its plain id unless another one's comes to the same; names in snake_case go first. The others
    have a suffix that follows from their name alone, so that it stays when endpoints come and go.
    """
    known = {_bare(each) for each in taken}
    ids: dict[str, str] = {}
    for name in sorted(endpoint_names, key=lambda name: (_SNAKE_CASE.fullmatch(name) is None, name)):
        plain = f"predict_{_SIGNS.sub('_', name.lower()).strip('_')}"
        suffix = hashlib.sha256(name.encode()).hexdigest()[:_SUFFIX_LENGTH]
        ids[name] = f"{plain}_{suffix}" if _bare(plain) in known else plain
        known.add(_bare(ids[name]))
    return ids


def _bare(operation_id: str) -> str:
    return _SIGNS.sub("", operation_id.lower())
