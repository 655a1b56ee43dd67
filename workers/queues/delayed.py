"""Delayed jobs (`eta`, `countdown`), which wait outside of their queue: how many there are, and which are due next.

A sorted set for each endpoint holds them. Submits add to it, and so do workers if a delayed job comes from a queue
(`engine.intake.delays`). When a job is due, a worker moves it into its queue (`engine.upkeep.releasing`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from workers import keys
from workers.platform.lua import Lua, run_in_parts
from workers.platform.redis.client import records_client
from workers.settings import load

_READ = Lua("workers.queues", "read_delayed")


@dataclass(frozen=True, slots=True)
class Delayed:
    """The delayed jobs of one endpoint."""

    count: int
    #: When the first of them is due (s since the epoch); None if there is none.
    next_due_at: float | None


NONE = Delayed(0, None)


def waits_until(not_before: float | None) -> float | None:
    """Return when a job that is submitted now is due; None if it goes into its queue at once."""
    return not_before if not_before is not None and not_before > time.time() else None


def record_ttl_s(not_before: float | None) -> int:
    """Return how long the record of an unfinished job is kept, which must outlast its delay."""
    return load().unfinished_ttl_s + max(0, math.ceil((not_before or 0) - time.time()))


def read(endpoint_names: Sequence[str]) -> dict[str, Delayed]:
    """Return the delayed jobs of each endpoint. Raises redis.RedisError."""
    answers = run_in_parts(records_client(), _READ, [keys.delayed(name) for name in endpoint_names])
    return {
        name: Delayed(count, float(due_at)) if count else NONE
        for name, count, due_at in zip(endpoint_names, answers[::2], answers[1::2], strict=True)
    }


def soonest(endpoint_names: Sequence[str], most: int) -> dict[str, list[tuple[str, float]]]:
    """Return of each endpoint the jobs that are due next, each with when it is (s since the epoch).

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    with records_client().pipeline(transaction=False) as pipeline:
        for name in endpoint_names:
            pipeline.zrange(keys.delayed(name), 0, most - 1, withscores=True)
        answers = pipeline.execute(raise_on_error=False)
    # A key of the wrong type has none.
    found = {name: each if isinstance(each, list) else [] for name, each in zip(endpoint_names, answers, strict=True)}
    return {name: [(job_id.decode(errors="replace"), at) for job_id, at in due] for name, due in found.items()}
