"""How good answers are, by feedback: accuracy of labels, MAE and RMSE of numbers, by version and UTC day.

Predictions are graded as in an evaluation (`comparison.tallies.grading`). Each row counts with the weight of its job's
feedback. A job that failed has no prediction: it is counted, and not graded. Integers are labels, unless there are
other numbers beside them, or their truths have more than 50 different values, or more than half as many as rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from workers.journal import feedback, reading
from workers.journal.feedback import Truth
from workers.journal.rows import Row
from workers.judging.comparison.pairs import ComparisonOptions
from workers.judging.comparison.statistics.sampling import short_json
from workers.judging.comparison.tallies.grading import Grade, grade
from workers.judging.comparison.tallies.labels import LabelTally
from workers.platform import fast_json

_OPTIONS = ComparisonOptions()
_MICROSECONDS = 1_000_000
View = dict[str, Any]


class Graded(NamedTuple):
    """A job with feedback."""

    model_name: str
    version: str
    #: When it ended (s since the epoch).
    finished_at: float
    #: One for each row; None if it failed.
    predictions: Sequence[Any] | None
    #: One for each row; None if there are not as many as rows.
    truths: Sequence[Any] | None
    weight: float = 1.0


@dataclass(slots=True)
class _Means:
    """Weighted sums of one kind of prediction."""

    rows: int = 0
    weight: float = 0.0
    right: float = 0.0
    error: float = 0.0
    square: float = 0.0

    def add(self, one: Grade, weight: float) -> None:
        self.rows += 1
        self.weight += weight
        self.right += weight * bool(one.right)
        self.error += weight * (one.error or 0.0)
        self.square += weight * (one.error or 0.0) ** 2

    def plus(self, other: _Means) -> _Means:
        return _Means(
            self.rows + other.rows,
            self.weight + other.weight,
            self.right + other.right,
            self.error + other.error,
            self.square + other.square,
        )


@dataclass(slots=True)
class _Sums:
    """The graded jobs of one version, on one day or on all."""

    jobs: int = 0
    #: Rows that are graded.
    rows: int = 0
    failed: int = 0
    not_comparable: int = 0
    labels: _Means = field(default_factory=_Means)
    integers: _Means = field(default_factory=_Means)
    numbers: _Means = field(default_factory=_Means)

    def add(self, grades: Iterable[Grade | None], weight: float) -> None:
        for one in grades:
            if one is None:
                self.not_comparable += 1
                continue
            self.rows += 1
            if one.is_integer:
                self.integers.add(one, weight)
            else:
                if one.right is not None:
                    self.labels.add(one, weight)
                if one.error is not None:
                    self.numbers.add(one, weight)

    def plus(self, other: _Sums) -> _Sums:
        return _Sums(
            self.jobs + other.jobs,
            self.rows + other.rows,
            self.failed + other.failed,
            self.not_comparable + other.not_comparable,
            self.labels.plus(other.labels),
            self.integers.plus(other.integers),
            self.numbers.plus(other.numbers),
        )

    @classmethod
    def restored(cls, state: View) -> _Sums:
        means = {name: _Means(**state[name]) for name in ("labels", "integers", "numbers")}
        return cls(**{**state, **means})

    def document(self, *, integers_are_numbers: bool) -> View:
        labels, numbers = self.labels, self.numbers
        if integers_are_numbers:
            numbers = numbers.plus(self.integers)
        else:
            labels = labels.plus(self.integers)
        return {
            "job_count": self.jobs,
            "row_count": self.rows,
            "failed_count": self.failed,
            "not_comparable_count": self.not_comparable,
            "accuracy": labels.right / labels.weight if labels.rows else None,
            "mae": numbers.error / numbers.weight if numbers.rows else None,
            "rmse": math.sqrt(numbers.square / numbers.weight) if numbers.rows else None,
        }


class QualityTally:
    """Adds up graded jobs."""

    def __init__(self) -> None:
        self._by_day: dict[tuple[str, str, str], _Sums] = {}
        self._by_version: dict[tuple[str, str], _Sums] = {}
        #: How many values the truths of integers have.
        self._integers = LabelTally()
        self._has_numbers = False

    def add(self, job: Graded) -> None:
        """Add a job."""
        day = datetime.fromtimestamp(job.finished_at, UTC).date().isoformat()
        version = job.model_name, job.version
        of_both = self._by_version.setdefault(version, _Sums()), self._by_day.setdefault((*version, day), _Sums())
        grades = list(self._grades(job))
        for sums in of_both:
            sums.jobs += 1
            sums.failed += job.predictions is None
            sums.add(grades, job.weight)

    def _grades(self, job: Graded) -> Iterable[Grade | None]:
        predictions, truths = job.predictions, job.truths
        if predictions is None:
            return
        if truths is None or len(truths) != len(predictions):
            yield None
            return
        for prediction, truth in zip(predictions, truths, strict=True):
            one = grade(prediction, truth, _OPTIONS)
            if one is not None and one.is_integer:
                text = short_json(truth)
                self._integers.add(text, text)
            elif one is not None and one.error is not None:
                self._has_numbers = True
            yield one

    @property
    def is_empty(self) -> bool:
        """Whether no job was added."""
        return not self._by_day

    def merge(self, other: QualityTally) -> None:
        """Add the jobs of another tally."""
        for version, sums in other._by_version.items():
            self._by_version[version] = self._by_version.get(version, _Sums()).plus(sums)
        for day, sums in other._by_day.items():
            self._by_day[day] = self._by_day.get(day, _Sums()).plus(sums)
        self._integers.merge(other._integers)
        self._has_numbers = self._has_numbers or other._has_numbers

    def state(self) -> View:
        """Return the sums as JSON."""
        return {
            "days": [[*key, asdict(sums)] for key, sums in self._by_day.items()],
            "integers": self._integers.state(),
            "has_numbers": self._has_numbers,
        }

    @classmethod
    def restored(cls, state: View) -> QualityTally:
        """Return the tally of a state."""
        tally = cls()
        for model_name, version, day, sums in state["days"]:
            found = _Sums.restored(sums)
            tally._by_day[model_name, version, day] = found
            before = tally._by_version.get((model_name, version), _Sums())
            tally._by_version[model_name, version] = before.plus(found)
        tally._integers, tally._has_numbers = LabelTally.restored(state["integers"]), state["has_numbers"]
        return tally

    def report(self) -> View:
        """Return the measures: `versions`, and `days` with one for each day and version; the newest days first."""
        as_numbers = self._has_numbers or self._integers.are_numbers
        return {
            "versions": [
                {"model_name": model_name, "version": version, **sums.document(integers_are_numbers=as_numbers)}
                for (model_name, version), sums in sorted(self._by_version.items())
            ],
            "days": [
                {"day": day, "model_name": model, "version": version, **sums.document(integers_are_numbers=as_numbers)}
                for (model, version, day), sums in sorted(
                    self._by_day.items(), key=lambda each: (each[0][2], *each[0][:2]), reverse=True
                )
            ],
        }


def of_journal(endpoint_name: str, since: float, until: float | None = None) -> View:
    """Return the measures of the jobs of an endpoint that ended in this time and have feedback.

    Raises:
        redis.RedisError: Redis can't be reached.
        ArtifactStoreUnavailable: the artifact store can't be reached.
    """
    return tally_of(endpoint_name, feedback.truths(endpoint_name, since), since, until).report()


def tally_of(endpoint_name: str, truths: Mapping[str, Truth], since: float, until: float | None = None) -> QualityTally:
    """Return the sums of the jobs of an endpoint that ended in this time and have one of these truths.

    Raises as `of_journal`.
    """
    tally = QualityTally()
    if truths:
        for job in _graded(reading.outcomes(endpoint_name, since=since, until=until), truths):
            tally.add(job)
    return tally


def _graded(found: Iterable[Row], truths: Mapping[str, Truth]) -> Iterable[Graded]:
    for row in found:
        truth = truths.get(row.job_id)
        if truth is None:
            continue
        predictions = None if row.predictions is None else fast_json.loads(row.predictions)
        of_rows = truth.of_rows(len(predictions or ()), many=row.many)
        yield Graded(row.model_name, row.version, row.finished_at / _MICROSECONDS, predictions, of_rows, truth.weight)
