"""Shares of jobs, by hash: which jobs the journal keeps, and which a candidate gets. The same on each worker."""

from __future__ import annotations

import hashlib

_RANGE = 2**64


def share(salt: str, key: str) -> float:
    """Return a number in [0, 1) that follows from salt and key alone, evenly spread over the keys."""
    text = f"{salt}\0{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") / _RANGE
