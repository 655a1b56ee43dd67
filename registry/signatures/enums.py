"""`StrEnum` for modules that model hosts load: before Python 3.11, `enum` has none."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from enum import StrEnum
else:
    from enum import Enum

    class StrEnum(str, Enum):
        """Members that are texts, also as `str()` and in f-strings."""

        def __str__(self) -> str:
            return str.__str__(self)


__all__ = ["StrEnum"]
