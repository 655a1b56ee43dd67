"""The figures of a shadow or a rollout: what workers have counted of both versions, and what their pairs show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from workers import keys
from workers.judging.rollout_decisions import Arm, Figures
from workers.platform.redis.client import records_client, translated_errors

STABLE, CANDIDATE = "stable", "candidate"
#: Failures of the candidate itself; where `on_failure` is `stable`, the callers of these jobs get another outcome.
_FAULTS = ("errors", "timed_out", "lost_hosts", "wrong_shape")
_LATENCY = "ms."


def read(trial_id: str, pairs: Mapping[str, Any]) -> Figures:
    """Return the figures of a trial; `pairs` are those of its row.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    return parse(counts(trial_id), pairs)


def counts(trial_id: str) -> dict[str, int]:
    """Return the counters of a trial, as workers write them.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        found = cast("dict[bytes, bytes]", records_client().hgetall(keys.arms(trial_id)))
    return {name.decode(): int(value) for name, value in found.items()}


def parse(counted: Mapping[str, int], pairs: Mapping[str, Any]) -> Figures:
    """Return the figures that these counters and the pairs make."""
    return Figures(
        stable=_arm(counted, STABLE),
        candidate=_arm(counted, CANDIDATE),
        lost_hosts=counted.get(f"{CANDIDATE}.lost_hosts", 0),
        pairs=int(pairs.get("pairs", 0)),
        disagreements=int(pairs.get("disagreements", 0)),
    )


def copies(counted: Mapping[str, int]) -> dict[str, int]:
    """Return what became of copies of jobs, which a candidate predicts after their ends."""
    return {name: counted.get(f"shadow.{name}", 0) for name in ("predicted", "errors", "shed")}


def _arm(counted: Mapping[str, int], arm: str) -> Arm:
    ended = {name: counted.get(f"{arm}.{name}", 0) for name in ("succeeded", "failed")}
    jobs = sum(ended.values())
    faults = sum(counted.get(f"{arm}.{name}", 0) for name in _FAULTS)
    prefix = f"{arm}.{_LATENCY}"
    latencies = {int(name[len(prefix) :]): number for name, number in counted.items() if name.startswith(prefix)}
    return Arm(jobs, min(jobs, max(faults, ended["failed"])), latencies)
