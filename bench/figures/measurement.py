"""What a figure yields."""

from __future__ import annotations

from typing import NamedTuple


class Measurement(NamedTuple):
    """One value of one metric (see bench/metrics.py); a figure of its own services names the system too."""

    metric: str
    model: str
    value: float
    system: str = ""
    #: Where on a curve it is: the offered load, or the size of batch.
    at: float = 0.0
