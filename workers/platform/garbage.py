"""Python's collector of garbage in long-lived processes that make many objects and hardly any cycles."""

from __future__ import annotations

import gc

#: Python's own 700 has it look through everything that a process has loaded, several times a second.
_COLLECTED_AFTER = 20_000


def collect_less() -> None:
    """Leave out of every collection what is there now, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER, *gc.get_threshold()[1:])
