"""Ids of jobs and requests: random UUIDs that nobody can guess.

The system's random bytes are read for many of them at a time: each read gives up Python's lock, which costs
a busy API more than the id itself.
"""

from __future__ import annotations

import os
import re

_ID_BYTES = 16
_READ_AT_ONCE = 256
#: The four digits that say how a UUID is laid out (RFC 9562, 4.1); two random bits choose one.
_VARIANTS = "89ab"

_STEP_ID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.[1-9][0-9]?")

_unused: list[bytes] = []
# Two processes must not give out the same ones.
os.register_at_fork(after_in_child=_unused.clear)


def new_id() -> str:
    """Return an id for something new; safe to call from many threads."""
    try:
        drawn = _unused.pop()
    except IndexError:
        fresh = os.urandom(_ID_BYTES * _READ_AT_ONCE)
        drawn, *rest = (fresh[at : at + _ID_BYTES] for at in range(0, len(fresh), _ID_BYTES))
        _unused.extend(rest)
    # As `str(UUID(bytes=drawn, version=4))`, in a fifth of the time.
    digits = drawn.hex()
    variant = _VARIANTS[drawn[8] >> 6]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def step_id(pipeline_id: str, number: int) -> str:
    """Return the id of the job that is a pipeline's step, counted from 1."""
    return f"{pipeline_id}.{number}"


def pipeline_of(job_id: str) -> str | None:
    """Return the id of the pipeline whose step this is; None if the id is none of a step."""
    found = _STEP_ID.fullmatch(job_id)
    return None if found is None else found[1]
