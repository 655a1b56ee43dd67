"""The versions beside the truths: which is right more often, and which is closer."""

from __future__ import annotations

import math
from typing import Any, Self

from workers.judging.comparison.document import Estimate, TruthLabels, TruthNumbers, Truths
from workers.judging.comparison.statistics.intervals import (
    Interval,
    MeanTally,
    ShareTally,
    difference_interval,
    mcnemar,
)
from workers.judging.comparison.tallies.grading import Grade
from workers.judging.comparison.tallies.probabilities import CalibrationTally

_Grades = tuple[Grade | None, Grade | None]


class TruthTally:
    """Sums of the grades of both versions; a version that failed is wrong in all rows of the job.

    The interval of the difference of shares is Newcombe's for the rows in which one version alone is right, whose
    shares are counted by job; with weights it is that of the weighted mean of candidate right less stable right.
    """

    def __init__(self) -> None:
        self._only = {"stable": ShareTally(), "candidate": ShareTally()}
        self._rows = {"rows": 0, "labels": 0, "integers": 0, "numbers": 0, "jobs": 0}
        self._means = {
            name: MeanTally()
            for name in (
                *("right_stable", "right_candidate", "right_difference"),
                *("error_stable", "error_candidate", "error_difference", "square_stable", "square_candidate"),
            )
        }
        self._calibration = {"stable": CalibrationTally(), "candidate": CalibrationTally()}
        self._weights: list[float] = []

    def add(self, grades: list[_Grades], weight: float) -> None:
        """Add a job: the grades of its rows, of the stable version and of the candidate."""
        known = [each for each in grades if each != (None, None)]
        if not known or weight <= 0:
            return
        self._rows["jobs"] += 1
        self._rows["rows"] += len(known)
        if weight not in self._weights and len(self._weights) < 2:
            self._weights.append(weight)
        self._add_labels(known, weight)
        self._add_numbers(known, weight)
        for each in known:
            for version, found in zip(("stable", "candidate"), each, strict=True):
                if found is not None and found.probability is not None:
                    self._calibration[version].add(found.probability, is_true=found.is_true)

    def report(self, *, integers_are_numbers: bool) -> Truths | None:
        """Return the part of the report; None without a truth."""
        rows = self._rows
        if not rows["rows"]:
            return None
        label_rows = rows["labels"] - (rows["integers"] if integers_are_numbers else 0)
        number_rows = rows["numbers"] - (0 if integers_are_numbers else rows["integers"])
        return Truths(
            jobs=rows["jobs"],
            rows=rows["rows"],
            weighted=self._is_weighted,
            labels=self._labels() if label_rows > 0 else None,
            numbers=self._numbers() if number_rows > 0 else None,
            stable_calibration=self._calibration["stable"].report(),
            candidate_calibration=self._calibration["candidate"].report(),
        )

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON."""
        return {
            "only": {name: each.state() for name, each in self._only.items()},
            "means": {name: each.state() for name, each in self._means.items()},
            "calibration": {name: each.state() for name, each in self._calibration.items()},
            "rows": dict(self._rows),
            "weights": list(self._weights),
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the tally of a state."""
        tally = cls()
        tally._only = {name: ShareTally.restored(each) for name, each in state["only"].items()}
        tally._means = {name: MeanTally.restored(each) for name, each in state["means"].items()}
        tally._calibration = {name: CalibrationTally.restored(each) for name, each in state["calibration"].items()}
        tally._rows, tally._weights = dict(state["rows"]), list(state["weights"])
        return tally

    @property
    def _is_weighted(self) -> bool:
        return len(self._weights) > 1

    def _add_labels(self, grades: list[_Grades], weight: float) -> None:
        rights = [_rights(*each) for each in grades if any(one is not None and one.right is not None for one in each)]
        rows = len(rights)
        self._rows["labels"] += rows
        self._rows["integers"] += sum(any(one is not None and one.is_integer for one in each) for each in grades)
        self._only["stable"].add(sum(stable and not candidate for stable, candidate in rights), rows)
        self._only["candidate"].add(sum(candidate and not stable for stable, candidate in rights), rows)
        stable, candidate = (sum(each[place] for each in rights) * weight for place in (0, 1))
        for name, total in (("stable", stable), ("candidate", candidate), ("difference", candidate - stable)):
            self._means[f"right_{name}"].add(total, rows * weight)

    def _add_numbers(self, grades: list[_Grades], weight: float) -> None:
        errors = [
            (stable.error, candidate.error)
            for stable, candidate in grades
            if stable is not None and candidate is not None and None not in (stable.error, candidate.error)
        ]
        self._rows["numbers"] += len(errors)
        stable, candidate = ([float(each[place] or 0.0) for each in errors] for place in (0, 1))
        sums = {
            "error_stable": sum(stable),
            "error_candidate": sum(candidate),
            "error_difference": sum(candidate) - sum(stable),
            "square_stable": sum(each**2 for each in stable),
            "square_candidate": sum(each**2 for each in candidate),
        }
        for name, total in sums.items():
            self._means[name].add(total * weight, len(errors) * weight)

    def _labels(self) -> TruthLabels:
        only = self._only
        difference: Interval | None = difference_interval(only["candidate"].interval(), only["stable"].interval())
        if self._is_weighted:
            difference = self._means["right_difference"].interval()
        assert difference is not None  # noqa: S101 - two weights are of two jobs
        return TruthLabels(
            rows=only["stable"].rows,
            stable_share=self._means["right_stable"].mean,
            candidate_share=self._means["right_candidate"].mean,
            difference=Estimate(**difference.document()),
            only_stable_rows=only["stable"].hits,
            only_candidate_rows=only["candidate"].hits,
            p_value=mcnemar(only["stable"].hits, only["candidate"].hits),
        )

    def _numbers(self) -> TruthNumbers:
        means, difference = self._means, self._means["error_difference"].interval()
        return TruthNumbers(
            rows=self._rows["numbers"],
            stable_mae=means["error_stable"].mean,
            candidate_mae=means["error_candidate"].mean,
            stable_rmse=math.sqrt(means["square_stable"].mean),
            candidate_rmse=math.sqrt(means["square_candidate"].mean),
            difference=None if difference is None else Estimate(**difference.document()),
        )


def _rights(stable: Grade | None, candidate: Grade | None) -> tuple[bool, bool]:
    return stable is not None and bool(stable.right), candidate is not None and bool(candidate.right)
