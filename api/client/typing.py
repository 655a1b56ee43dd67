"""Names for annotations that Python has only since 3.11; before, type checkers alone know them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if sys.version_info >= (3, 11):
    from typing import Self, Unpack
elif TYPE_CHECKING:
    from typing_extensions import Self, Unpack
else:
    # No annotation is evaluated.
    Self = Unpack = None

__all__ = ["Self", "Unpack"]
