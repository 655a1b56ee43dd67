"""The GPU of the process: which one it may use comes with its environment, before any library is imported."""

from __future__ import annotations

import os

#: What CUDA reads; hosts without a GPU have it empty.
VISIBLE = "CUDA_VISIBLE_DEVICES"


def has_gpu() -> bool:
    """Whether this process was given a GPU. A program that sets nothing gets none: it didn't ask for one."""
    return bool(os.environ.get(VISIBLE))
