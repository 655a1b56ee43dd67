"""Delayed jobs: how a program submits them, and that other jobs pass them."""

from __future__ import annotations

import time
from datetime import datetime

from tests.support.service.stack import Stack

_SUBMIT = """
import sys
from workers.tasks import predict
name, row, seconds = sys.argv[1:4]
print(predict.apply_async((name, row), countdown=float(seconds)).id)
"""
_SUBMIT_MANY = """
import sys
from workers.tasks import predict
name, count = sys.argv[1], int(sys.argv[2])
predict.bulk(name, [str(number) for number in range(count)], countdown=600)
"""
_AT_ONCE_S = 5.0


def submit_delayed(service: Stack, name: str, row: str, seconds: float) -> str:
    """Submit a job that is due in so many seconds; return its id."""
    return service.run("-c", _SUBMIT, name, row, str(seconds)).stdout.strip()


def submit_many_delayed(service: Stack, name: str, count: int) -> None:
    """Submit so many jobs that are due in ten minutes."""
    service.run("-c", _SUBMIT_MANY, name, str(count))


def check_predicts_at_once(service: Stack, name: str) -> None:
    """Check that an endpoint with the model `Echo("1")` runs a job that is submitted now."""
    began = time.monotonic()
    assert service.predict(name, "now")["prediction"] == ["1", "now"]
    assert time.monotonic() - began < _AT_ONCE_S


def timestamp(moment: str) -> float:
    """Return a moment of a job's document in seconds since 1970."""
    return datetime.fromisoformat(moment).timestamp()
