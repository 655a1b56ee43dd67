"""Replaces fields of inputs by keyed hashes, so that the journal holds no personal data but its rows can be joined."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

from workers.platform import fast_json

_SHOWN_DIGITS = 32
#: A step of a path that stands for all elements of a list, or all members of an object.
_ALL = "*"


class Exclusion:
    """The fields that a deployment excludes, by path, and the key of their hashes."""

    def __init__(self, paths: Sequence[str], key: str) -> None:
        self._paths = [path.split(".") for path in paths]
        self._key = key.encode()

    def applied(self, row: Any) -> Any:
        """Return a row with the excluded fields replaced; paths that the row doesn't have are ignored."""
        for path in self._paths:
            row = self._replaced(row, path)
        return row

    def _replaced(self, value: Any, path: Sequence[str]) -> Any:
        if not path:
            return self._hash(value)
        step, rest = path[0], path[1:]
        if isinstance(value, dict):
            names = value if step == _ALL else [step] if step in value else []
            return {**value, **{name: self._replaced(value[name], rest) for name in names}}
        if isinstance(value, list):
            wanted = range(len(value)) if step == _ALL else [int(step)] if step.isdecimal() else []
            return [self._replaced(each, rest) if at in wanted else each for at, each in enumerate(value)]
        return value

    def _hash(self, value: Any) -> str | None:
        if value is None or not self._key:
            return None
        return hmac.digest(self._key, fast_json.dumps_celery(value), "sha256").hex()[:_SHOWN_DIGITS]
