"""Adds up what the arms of trials do, and writes it a few times a second."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from redis import RedisError

from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.measures import arms, figures
from workers.measures.counters import Kind

_log = logging.getLogger(__name__)
_WRITE_DELAY_S = 0.2
_OF_KIND = {Kind.SUCCEEDED: arms.SUCCEEDED, Kind.FAILED: arms.FAILED}


def count(context: Context, trial_id: str, counts: Mapping[str, int]) -> None:
    """Add to the counts of a trial soon."""
    if trial_id in context.arm_counts:
        context.arm_counts[trial_id].update(counts)
        return
    context.arm_counts[trial_id] = Counter(counts)
    context.in_background(_write(context, trial_id))


def count_ended(context: Context, ended: Sequence[tuple[QueuedJob, Kind]]) -> None:
    """Count jobs of trials that ended now, each for the arm that it was dealt to."""
    for job, kind in ended:
        if (dealt := job.dealt) is None:
            continue
        counts = Counter[str]()
        if kind in _OF_KIND:
            counts[arms.of_arm(dealt.arm, _OF_KIND[kind])] += 1
        # A failure of the candidate counts also if the job was cancelled after it.
        if dealt.failure and (kind in _OF_KIND or dealt.failure in arms.FAILURES):
            counts[arms.of_arm(dealt.arm, dealt.failure)] += 1
        if dealt.fell_back and kind in _OF_KIND:
            counts[arms.of_arm(dealt.arm, arms.FELL_BACK)] += 1
        elif dealt.predict_ms is not None and not dealt.fell_back:
            counts[arms.of_ms(dealt.arm, figures.bucket(dealt.predict_ms))] += 1
        if counts:
            count(context, dealt.trial_id, counts)


async def _write(context: Context, trial_id: str) -> None:
    await asyncio.sleep(_WRITE_DELAY_S)
    counts = context.arm_counts.pop(trial_id)
    try:
        await arms.add(context.records, trial_id, counts)
    except (RedisError, OSError) as error:
        # Counts are no more than a sample of what happens; jobs don't wait for them.
        _log.warning("lost %d counts of trial %s: %s", sum(counts.values()), trial_id, error)
