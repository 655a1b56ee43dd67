"""A worker that kills itself at a fault point of its first note: before it publishes it, or before it forgets it."""

from __future__ import annotations

import os
import signal
from typing import Any

from workers.serve import main
from workers.successors import notes
from workers.successors.publisher import Publisher


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if os.environ["DIES_AT"] == "noted":
        setattr(Publisher, "_publish", _die)  # noqa: B010 - mypy knows no other function there
    else:
        setattr(notes, "settle", _die)  # noqa: B010
    main()
