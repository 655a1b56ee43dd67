"""The figures of a shadow or a rollout: what workers have counted of both versions, and what their pairs show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.judging.rollout_decisions import Arm, Figures
from workers.measures import arms
from workers.measures.arms import ArmFigures, TrialFigures

CANDIDATE = arms.Arm.CANDIDATE.value


def read(trial_id: str, pairs: Mapping[str, Any]) -> Figures:
    """Return the figures of a trial; `pairs` are those of its row.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    return of(arms.read(trial_id), pairs)


def of(counted: TrialFigures, pairs: Mapping[str, Any]) -> Figures:
    """Return the figures that these counts and the pairs make."""
    return Figures(
        stable=_arm(counted.stable, counted.stable.failed),
        candidate=_arm(counted.candidate, counted.candidate.failures),
        lost_hosts=_lost_hosts(counted),
        pairs=int(pairs.get("pairs", 0)),
        disagreements=int(pairs.get("disagreements", 0)),
    )


def copies(trial_id: str) -> dict[str, int]:
    """Return the counts of the copies of jobs that a candidate predicts, and of the hosts that it lost.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    counted = arms.read(trial_id)
    names = {
        "predicted": arms.COPIES_PREDICTED,
        "errors": arms.COPIES_FAILED,
        "shed": arms.COPIES_SHED,
        "lost": arms.COPIES_LOST,
    }
    return {name: counted.shadow[of_copies] for name, of_copies in names.items()} | {"lost_hosts": _lost_hosts(counted)}


def _lost_hosts(counted: TrialFigures) -> int:
    """Return the hosts that the candidate has lost, under jobs and under copies of jobs."""
    return counted.candidate.counts[arms.LOST_HOSTS] + counted.candidate.counts[arms.COPIES_LOST_HOSTS]


def _arm(counted: ArmFigures, failed: int) -> Arm:
    return Arm(counted.met, min(counted.met, failed), counted.ms)
