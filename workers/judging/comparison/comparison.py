"""Adds up pairs of answers; the report is made from the sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from workers.judging.comparison import verdicts
from workers.judging.comparison.agreeing import rows_agree_if
from workers.judging.comparison.document import Report
from workers.judging.comparison.leaves import Leaf
from workers.judging.comparison.pairs import ComparisonOptions, Pair
from workers.judging.comparison.statistics.sampling import Sample
from workers.judging.comparison.tallies.agreement import AgreementTally, Row, rows_of
from workers.judging.comparison.tallies.differences import DifferenceTally
from workers.judging.comparison.tallies.failures import FailureTally
from workers.judging.comparison.tallies.fields import NUMERIC, FieldTally
from workers.judging.comparison.tallies.grading import grade
from workers.judging.comparison.tallies.times import TimeTally
from workers.judging.comparison.tallies.truths import TruthTally

#: Of the state.
_STATE_VERSION = 1
_MAX_FIELDS = 64
_OTHER_FIELDS = "(other fields)"
#: Fields with details, and values of one field in one row.
_MAX_DETAILED_FIELDS, _MAX_VALUES = 16, 8

_Details = dict[str, list[tuple[float, float]]]


class Comparison:
    """The comparison of two versions.

    Its memory is bounded: sums of all pairs, and details of a sample of rows. An equal seed chooses an equal sample.
    A pair that is added twice counts twice.
    """

    def __init__(self, options: ComparisonOptions) -> None:
        self.options = options
        self._versions: dict[str, str] = {}
        self._jobs = 0
        self._agreement, self._failures, self._times = AgreementTally(), FailureTally(), TimeTally()
        self._differences, self._truths = DifferenceTally(), TruthTally()
        self._fields: dict[str, FieldTally] = {}
        self._details = Sample(options.max_details, options.seed)

    def add(self, pair: Pair) -> None:
        """Add the answers to one job."""
        self._jobs += 1
        self._versions.update(stable=pair.stable.version, candidate=pair.candidate.version)
        rows = rows_of(pair.stable, pair.candidate, self.options)
        self._failures.add(pair)
        self._times.add(pair)
        self._agreement.add(pair, rows, self.options)
        self._differences.add(pair, rows, self.options)
        self._add_fields(pair.job_id, rows)
        self._add_truths(pair)

    def report(self, facts: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
        """Return the report document.

        Args:
            facts: what is known of the versions besides, by `stable` and `candidate`: `memory_mb`, `load_s` and others.
        """
        as_numbers = any(each.integers_are_numbers for each in self._fields.values())
        agreement = self._agreement.report(integers_are_numbers=as_numbers)
        kinds = [each.kind for each in self._fields.values()]
        agreement = agreement.model_copy(update={"agrees_if": rows_agree_if(kinds, self.options)})
        noise = self._agreement.noise(integers_are_numbers=as_numbers)
        errors, times = self._failures.report(), self._times.report()
        truths = self._truths.report(integers_are_numbers=as_numbers)
        verdict, reason = verdicts.decide(agreement, noise, errors, truths, self.options.margin)
        report = Report(
            verdict=verdict,
            reason=reason,
            notes=verdicts.notes(reason, errors, truths, noise, times),
            stable_version=self._versions.get("stable"),
            candidate_version=self._versions.get("candidate"),
            jobs=self._jobs,
            rows=agreement.rows,
            agreement=agreement,
            noise=noise,
            errors=errors,
            fields=[
                each.report(path, self._sampled(path), self.options) for path, each in sorted(self._fields.items())
            ],
            truths=truths,
            differences=self._differences.report(),
            predict_times=times,
            facts={name: dict(each) for name, each in (facts or {}).items()},
            options=self.options.document(),
            sampled_rows=len(self._details),
        )
        return report.model_dump(mode="json")

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON; `restored` goes on with them."""
        return {
            "version": _STATE_VERSION,
            "options": self.options.document(),
            "versions": dict(self._versions),
            "jobs": self._jobs,
            "agreement": self._agreement.state(),
            "failures": self._failures.state(),
            "times": self._times.state(),
            "differences": self._differences.state(),
            "truths": self._truths.state(),
            "fields": {path: each.state() for path, each in self._fields.items()},
            "details": self._details.state(),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """Return the comparison of a state."""
        options = ComparisonOptions.from_document(state["options"])
        comparison = cls(options)
        comparison._versions, comparison._jobs = dict(state["versions"]), state["jobs"]
        comparison._agreement = AgreementTally.restored(state["agreement"])
        comparison._failures = FailureTally.restored(state["failures"])
        comparison._times = TimeTally.restored(state["times"])
        comparison._differences = DifferenceTally.restored(state["differences"])
        comparison._truths = TruthTally.restored(state["truths"])
        comparison._fields = {path: FieldTally.restored(each) for path, each in state["fields"].items()}
        comparison._details = Sample.restored(state["details"], options.max_details, options.seed)
        return comparison

    def _add_fields(self, job_id: str, rows: Sequence[Row]) -> None:
        by_path: dict[str, list[Leaf]] = {}
        for place, row in enumerate(rows):
            details: _Details = {}
            for leaf in row.leaves or ():
                path = self._path(leaf.path, by_path)
                by_path.setdefault(path, []).append(leaf)
                _detail(details, path, leaf)
            if details:
                self._details.add(f"{job_id}:{place}", details)
        for path, found in by_path.items():
            self._fields.setdefault(path, FieldTally()).add(found, self.options)

    def _path(self, path: str, seen: Mapping[str, object]) -> str:
        known = path in self._fields or path in seen
        return path if known or len(self._fields.keys() | seen.keys()) < _MAX_FIELDS else _OTHER_FIELDS

    def _add_truths(self, pair: Pair) -> None:
        if pair.truths is None:
            return
        answers = [pair.stable.predictions, pair.candidate.predictions]
        if not any(answers):
            return
        grades = [
            tuple(
                grade(each[place], truth, self.options) if each is not None and place < len(each) else None
                for each in answers
            )
            for place, truth in enumerate(pair.truths)
        ]
        self._truths.add([(first, second) for first, second in grades], pair.weight)

    def _sampled(self, path: str) -> list[tuple[float, float]]:
        return [(first, second) for row in self._details for first, second in row.get(path, ())]


def _detail(details: _Details, path: str, leaf: Leaf) -> None:
    if leaf.kind not in NUMERIC or (path not in details and len(details) >= _MAX_DETAILED_FIELDS):
        return
    values = details.setdefault(path, [])
    if len(values) < _MAX_VALUES:
        values.append((leaf.stable, leaf.candidate))
