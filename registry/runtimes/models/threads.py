"""The number of threads that the libraries of one process may use; it comes with the process's environment."""

from __future__ import annotations

import os

#: What numerical libraries read when they are imported.
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def allowed() -> int:
    """Return the number for libraries that don't read the environment; 1 if there is none in it."""
    text = os.environ.get(VARIABLES[0], "")
    return int(text) if text.isdecimal() and int(text) > 0 else 1
