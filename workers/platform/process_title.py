"""What `ps` shows of a process: what it is and what it serves, in place of its command line (Linux only)."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

_PREFIX = "queuecast: "
#: Fields of /proc/self/stat after the name, from the third on: where the command line begins and ends.
_ARG_START, _ARG_END = 48 - 3, 49 - 3


def set_title(title: str) -> None:
    """Show `queuecast: <title>`: as many words as fit into the command line that the process was started with."""
    if sys.platform != "linux":
        return
    # Only here: not every process has it already.
    import ctypes

    # A sandbox may hide the addresses; a title is not worth an error.
    with suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        room = end - start
        if start and room > 1:
            printable = "".join(each if each.isprintable() else " " for each in _PREFIX + title)
            text = printable.encode(errors="replace")
            if len(text) >= room:
                cut = text[: room - 1]
                words = cut.rpartition(b" ")[0]
                text = words if len(words) > len(_PREFIX) else cut  # one long word is cut itself
            ctypes.memmove(start, text.ljust(room, b"\0"), room)
