"""Refuses a second copy of the client in one program: an `except` for the errors of one doesn't catch the other's."""

from __future__ import annotations

import sys
from typing import Any

#: In a clone, and where it is installed.
_NAMES = ("api.client", "queuecast_client")  # a stored name


def refuse_second_copy(name: str) -> None:
    """Refuse to be imported by this name beside the client by its other name.

    Raises:
        ImportError: a clone's client and an installed one are both imported.
    """
    ours: Any = sys.modules[name]
    for other in _NAMES:
        found = sys.modules.get(other)
        # Another module may have this name, but not with this function of its own.
        theirs = getattr(found, "_refuse_second_copy", None)
        if other != name and getattr(theirs, "__module__", None) == f"{other}.copies":
            raise ImportError(
                f"{ours.__file__} is a second copy of {getattr(found, '__file__', other)}, which this program has "
                "imported: a clone of Queuecast and an installed queuecast-client are both on its path. Uninstall "
                "queuecast-client there, or take the clone off sys.path."
            )
