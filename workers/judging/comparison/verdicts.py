"""The verdict of a comparison: one of five words, and the reason.

In this order: new errors are worse. Where the truth is known, its interval decides between better, worse and the same.
Otherwise the disagreement beyond the noise floor does: the same, if its whole interval is within the margin; different,
if all of it is beyond.
"""

from __future__ import annotations

from typing import NamedTuple

from workers.judging.comparison.figures.failures import FailureReport
from workers.judging.comparison.figures.truths import LabelTruths, NumberTruths
from workers.judging.comparison.intervals import Interval, difference_of_shares
from workers.judging.comparison.report import NoiseFloor, Verdict

#: With fewer jobs nothing is said.
FEWEST_JOBS = 20
#: Truths of fewer rows decide nothing.
FEWEST_TRUTHS = 30


class Judged(NamedTuple):
    """A verdict with its reason."""

    verdict: Verdict
    reason: str


class Evidence(NamedTuple):
    """What a verdict is made of."""

    jobs: int
    excess: Interval | None
    failures: FailureReport | None
    labels_right: LabelTruths | None
    numbers_close: NumberTruths | None
    #: The mean absolute value that numbers have, to which their margin is relative.
    number_scale: float
    margin: float


def excess(disagreement: Interval | None, noise_floor: NoiseFloor | None) -> Interval | None:
    """Return the disagreement beyond that of the stable version with itself.

    If no row of the control differs, the model is taken to repeat itself exactly, and the floor to be 0: the interval
    of a few hundred control rows would hide changes that are larger than the margin.
    """
    if disagreement is None or noise_floor is None or noise_floor.disagreement.value == 0:
        return disagreement
    return difference_of_shares(disagreement, noise_floor.disagreement)


def judge(evidence: Evidence) -> Judged:
    """Return the verdict."""
    if evidence.jobs < FEWEST_JOBS:
        return Judged("inconclusive", f"Only {evidence.jobs} jobs were compared; {FEWEST_JOBS} are needed.")
    return _by_errors(evidence) or _by_truths(evidence) or _by_agreement(evidence)


def _by_errors(evidence: Evidence) -> Judged | None:
    failures = evidence.failures
    if failures is None or not failures.new_share.value:
        return None
    new = failures.candidate - failures.both
    if new < 3 and failures.new_share.low <= evidence.margin:
        return None  # they count as disagreement
    return Judged("worse", f"{new} of {evidence.jobs} jobs fail on the candidate that succeed on the stable version.")


def _by_truths(evidence: Evidence) -> Judged | None:
    labels, numbers = evidence.labels_right, evidence.numbers_close
    if labels is not None and labels.rows >= FEWEST_TRUTHS and labels.difference is not None:
        what = (
            f"Of {labels.rows} rows whose truth is known, the candidate has {_percent(labels.candidate_accuracy)} right"
        )
        what += f" and the stable version {_percent(labels.stable_accuracy)}"
        return _of_difference(labels.difference, evidence.margin, what)
    if numbers is not None and numbers.rows >= FEWEST_TRUTHS and numbers.difference is not None:
        what = f"On {numbers.rows} rows whose truth is known, the candidate's mean error is "
        what += f"{numbers.candidate_mean_error:.4g} and the stable version's {numbers.stable_mean_error:.4g}"
        return _of_difference(numbers.difference, evidence.margin * evidence.number_scale, what)
    return None


def _of_difference(difference: Interval, margin: float, what: str) -> Judged | None:
    value, low, high = map(_signed, (difference.value, difference.low, difference.high))
    interval = f"(difference {value}, 95 % interval {low} to {high})"
    if difference.low > 0:
        return Judged("better", f"{what} {interval}.")
    if difference.high < 0:
        return Judged("worse", f"{what} {interval}.")
    if -margin <= difference.low and difference.high <= margin:
        return Judged("same", f"{what} {interval}, which is within the margin.")
    return None


def _by_agreement(evidence: Evidence) -> Judged:
    found, margin = evidence.excess, evidence.margin
    if found is None:
        return Judged("inconclusive", "No row was answered by both versions.")
    interval = f"{_percent(found.value)} of rows (95 % interval {_percent(found.low)} to {_percent(found.high)})"
    if found.high <= margin:
        return Judged("same", f"They disagree on {interval}, which is within the margin of {_percent(margin)}.")
    if found.low > margin:
        return Judged("differs", f"They disagree on {interval}, which is beyond the margin of {_percent(margin)}.")
    more = f"More jobs can decide whether that is beyond the margin of {_percent(margin)}."
    return Judged("inconclusive", f"They disagree on {interval}. {more}")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _signed(value: float) -> str:
    return f"{value:+.4g}"
