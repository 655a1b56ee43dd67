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
        """Return a row with the excluded fields replaced; members and elements that it doesn't have are ignored.

        A value that a path leads into, although it has no such fields, is replaced as a whole: a text in the place of
        an object may be what is to be hidden.
        """
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
        if isinstance(value, list) and (step == _ALL or step.isdecimal()):
            wanted = range(len(value)) if step == _ALL else [int(step)]
            return [self._replaced(each, rest) if at in wanted else each for at, each in enumerate(value)]
        return self._hash(value)

    def _hash(self, value: Any) -> str | None:
        if value is None or not self._key:
            return None
        return hmac.digest(self._key, fast_json.dumps_celery(value), "sha256").hex()[:_SHOWN_DIGITS]
