"""Errors that are new with the candidate, and errors that are gone."""

from __future__ import annotations

import msgspec

from workers.judging.comparison.intervals import Interval, clopper_pearson
from workers.judging.comparison.pairs import Answer

#: Errors with equal code and the same beginning count as one.
_MESSAGE_LENGTH = 120
_MOST_ERRORS = 20


class ErrorCount(msgspec.Struct):
    """An error that one version had and the other had not, how many jobs, and one of them."""

    code: str
    message: str
    jobs: int
    job_id: str


class FailureReport(msgspec.Struct, frozen=True):
    """The jobs that failed."""

    stable: int
    candidate: int
    both: int
    #: The share of jobs that failed on the candidate alone.
    new_share: Interval
    new: list[ErrorCount]
    gone: list[ErrorCount]


class Failures(msgspec.Struct):
    """Counts of jobs that failed."""

    jobs: int = 0
    stable: int = 0
    candidate: int = 0
    both: int = 0
    new: list[ErrorCount] = []
    gone: list[ErrorCount] = []

    def add(self, job_id: str, stable: Answer, candidate: Answer) -> None:
        """Count a job."""
        self.jobs += 1
        stable_failed, candidate_failed = stable.predictions is None, candidate.predictions is None
        self.stable += stable_failed
        self.candidate += candidate_failed
        self.both += stable_failed and candidate_failed
        if candidate_failed and not stable_failed:
            _count(self.new, job_id, candidate)
        if stable_failed and not candidate_failed:
            _count(self.gone, job_id, stable)

    def report(self) -> FailureReport | None:
        """Return the counts, errors of most jobs first; None without jobs."""
        if not self.jobs:
            return None
        new_share = clopper_pearson(self.candidate - self.both, self.jobs)
        new, gone = (sorted(each, key=lambda error: -error.jobs) for each in (self.new, self.gone))
        return FailureReport(self.stable, self.candidate, self.both, new_share, new, gone)


def _count(errors: list[ErrorCount], job_id: str, answer: Answer) -> None:
    code, message = answer.error_code or "unknown", (answer.error_message or "")[:_MESSAGE_LENGTH]
    for each in errors:
        if (each.code, each.message) == (code, message):
            each.jobs += 1
            return
    if len(errors) < _MOST_ERRORS:
        errors.append(ErrorCount(code, message, 1, job_id))
