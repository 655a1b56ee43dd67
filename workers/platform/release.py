"""Which release of Queuecast this is."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version


@lru_cache(maxsize=1)
def release() -> str:
    """Return the version of the package that is installed; 0 if it runs from a folder and isn't."""
    try:
        return version("queuecast")
    except PackageNotFoundError:
        return "0"
