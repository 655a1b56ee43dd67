"""Which version is right more often, or closer, where the truth is known."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from workers.judging.comparison import fields
from workers.judging.comparison.fields import Kind
from workers.judging.comparison.intervals import Interval, WeightedMean, mcnemar
from workers.judging.comparison.pairs import ComparisonOptions


class LabelTruths(msgspec.Struct, frozen=True):
    """Rows whose true label is known. Positive differences speak for the candidate."""

    rows: int
    stable_accuracy: float
    candidate_accuracy: float
    #: Rows that only one version has right.
    only_stable: int
    only_candidate: int
    #: McNemar's exact test, without weights.
    p_value: float
    #: Candidate's accuracy minus stable's; None for fewer than two rows.
    difference: Interval | None


class NumberTruths(msgspec.Struct, frozen=True):
    """Rows whose true number is known. Positive differences speak for the candidate."""

    rows: int
    stable_mean_error: float
    candidate_mean_error: float
    #: Root of the mean square error.
    stable_root_error: float
    candidate_root_error: float
    #: Stable's mean absolute error minus the candidate's; None for fewer than two rows.
    difference: Interval | None


class Truths(msgspec.Struct):
    """Sums over rows with a known truth, weighted."""

    only_stable: int = 0
    only_candidate: int = 0
    stable_right: WeightedMean = msgspec.field(default_factory=WeightedMean)
    candidate_right: WeightedMean = msgspec.field(default_factory=WeightedMean)
    right: WeightedMean = msgspec.field(default_factory=WeightedMean)
    stable_error: WeightedMean = msgspec.field(default_factory=WeightedMean)
    candidate_error: WeightedMean = msgspec.field(default_factory=WeightedMean)
    stable_square: WeightedMean = msgspec.field(default_factory=WeightedMean)
    candidate_square: WeightedMean = msgspec.field(default_factory=WeightedMean)
    closer: WeightedMean = msgspec.field(default_factory=WeightedMean)

    def add(self, stable: Any, candidate: Any, truth: Any, weight: float, options: ComparisonOptions) -> None:
        """Count a row; without a field that could be compared with the truth it doesn't count."""
        one, other = answered(stable, truth, options), answered(candidate, truth, options)
        if one is None or other is None:
            return
        expected = next(iter(fields.fields(truth).values())) if isinstance(truth, dict) else truth
        if one.is_number and other.is_number and fields.is_number(expected):
            self._add_numbers(abs(one.value - expected), abs(other.value - expected), weight)
        else:
            wanted = label_text(expected)
            self._add_labels(label_text(one.value) == wanted, label_text(other.value) == wanted, weight)

    def labels(self) -> LabelTruths | None:
        """Return the figures of labels; None without any."""
        stable, candidate = self.stable_right.mean, self.candidate_right.mean
        if stable is None or candidate is None:
            return None
        p_value = mcnemar(self.only_stable, self.only_candidate)
        counts = self.only_stable, self.only_candidate
        return LabelTruths(self.right.count, stable, candidate, *counts, p_value, self.right.interval())

    def numbers(self) -> NumberTruths | None:
        """Return the figures of numbers; None without any."""
        stable, candidate = self.stable_error.mean, self.candidate_error.mean
        if stable is None or candidate is None:
            return None
        roots = ((self.stable_square.mean or 0.0) ** 0.5, (self.candidate_square.mean or 0.0) ** 0.5)
        return NumberTruths(self.closer.count, stable, candidate, *roots, self.closer.interval())

    def _add_labels(self, stable: bool, candidate: bool, weight: float) -> None:
        self.only_stable += stable and not candidate
        self.only_candidate += candidate and not stable
        self.stable_right.add(stable, weight)
        self.candidate_right.add(candidate, weight)
        self.right.add(int(candidate) - int(stable), weight)

    def _add_numbers(self, stable: float, candidate: float, weight: float) -> None:
        self.stable_error.add(stable, weight)
        self.candidate_error.add(candidate, weight)
        self.stable_square.add(stable * stable, weight)
        self.candidate_square.add(candidate * candidate, weight)
        self.closer.add(stable - candidate, weight)


class Answered(NamedTuple):
    """What a prediction answers to compare it with a truth."""

    value: Any
    is_number: bool


def answered(prediction: Any, truth: Any, options: ComparisonOptions) -> Answered | None:
    """Return the label, the most probable class, or the number of a prediction; None if it has none of them.

    A truth that is an object names the field; otherwise the first field of these kinds counts, in this order.
    """
    found = fields.fields(prediction)
    if isinstance(truth, dict):
        found = {path: found[path] for path in fields.fields(truth) if path in found}
    kinds = {path: fields.kind_of(value) for path, value in found.items()}
    for wanted in (Kind.LABEL, Kind.INTEGER, Kind.PROBABILITIES, Kind.NUMBER):
        for path, kind in kinds.items():
            if kind is wanted:
                return _answered(kind, found[path], truth, options)
    return None


def _answered(kind: Kind, value: Any, truth: Any, options: ComparisonOptions) -> Answered:
    if kind is Kind.PROBABILITIES:
        return Answered(fields.most_probable(fields.probabilities(value) or {}), is_number=False)
    is_count = options.output_kind == "number" or isinstance(truth, float)
    return Answered(value, is_number=kind is Kind.NUMBER or (kind is Kind.INTEGER and is_count))


def label_text(value: Any) -> str:
    """Return a label as text: 1, 1.0 and "1" are the same, as in names of classes."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
