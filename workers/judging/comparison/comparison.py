"""A comparison takes pairs one by one, keeps sums and bounded samples of them, and makes the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from workers.judging.comparison import fields, verdicts
from workers.judging.comparison.fields import Kind
from workers.judging.comparison.figures.failures import Failures
from workers.judging.comparison.figures.labels import Labels
from workers.judging.comparison.figures.numbers import Numbers
from workers.judging.comparison.figures.probabilities import Probabilities
from workers.judging.comparison.figures.timings import Timings
from workers.judging.comparison.figures.truths import Truths, label_text
from workers.judging.comparison.intervals import ClusteredShare, Interval
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair
from workers.judging.comparison.report import REPORT_VERSION, Difference, FieldReport, NoiseFloor, Report, VersionFacts
from workers.judging.comparison.verdicts import Evidence

_MOST_DIFFERENT = 20
#: Inputs and predictions in the report that are longer than this as JSON are cut.
_SHOWN_BYTES = 2_000
#: Integers with more different values than this are numbers.
_MOST_INTEGER_LABELS = 50


class _Field(msgspec.Struct):
    """The sums of one field of the predictions."""

    agreement: ClusteredShare = msgspec.field(default_factory=ClusteredShare)
    labels: Labels = msgspec.field(default_factory=Labels)
    numbers: Numbers = msgspec.field(default_factory=Numbers)
    probabilities: Probabilities = msgspec.field(default_factory=Probabilities)
    #: Whether a number with a fraction was among the values.
    has_fractions: bool = False

    def add(self, stable: Any, candidate: Any, truth: Any) -> None:
        """Count a row."""
        one, other = fields.probabilities(stable), fields.probabilities(candidate)
        if one is not None and other is not None:
            self.probabilities.add(one, other, None if truth is None else label_text(truth))
            return
        if fields.is_number(stable) and fields.is_number(candidate):
            self.numbers.add(stable, candidate)
            self.has_fractions |= isinstance(stable, float) or isinstance(candidate, float)
        if all(fields.kind_of(each) in (Kind.LABEL, Kind.INTEGER) for each in (stable, candidate)):
            self.labels.add(label_text(stable), label_text(candidate))

    def report(self, path: str, options: ComparisonOptions) -> FieldReport | None:
        """Return the figures; None without rows."""
        agreement = self.agreement.interval()
        if agreement is None:
            return None
        are_labels = self.labels.counts and not self.has_fractions and options.output_kind != "number"
        if self.numbers.rows and options.output_kind == "auto" and len(self.labels.known) >= _MOST_INTEGER_LABELS:
            are_labels = False
        return FieldReport(
            path,
            agreement,
            labels=self.labels.report() if are_labels else None,
            numbers=self.numbers.report() if self.numbers.rows and not are_labels else None,
            probabilities=self.probabilities.report() if self.probabilities.rows else None,
        )


class _State(msgspec.Struct):
    """Everything that a comparison has found so far."""

    options: ComparisonOptions
    agreement: ClusteredShare = msgspec.field(default_factory=ClusteredShare)
    control: ClusteredShare = msgspec.field(default_factory=ClusteredShare)
    fields: dict[str, _Field] = {}
    failures: Failures = msgspec.field(default_factory=Failures)
    timings: Timings = msgspec.field(default_factory=Timings)
    truths: Truths = msgspec.field(default_factory=Truths)
    most_different: list[Difference] = []


class Comparison:
    """Compares two versions pair by pair; its memory and its state have bounds, however many pairs there are."""

    def __init__(self, options: ComparisonOptions | None = None) -> None:
        self._state = _State(options or ComparisonOptions())

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Comparison:
        """Return a comparison that goes on from what `state` returned."""
        restored = cls()
        restored._state = msgspec.convert(state, _State, strict=False)
        return restored

    def state(self) -> dict[str, Any]:
        """Return all that it has found so far, as JSON can hold it."""
        state: dict[str, Any] = msgspec.to_builtins(self._state)
        return state

    @property
    def jobs(self) -> int:
        """How many pairs were added."""
        return self._state.failures.jobs

    def add(self, pair: Pair) -> None:
        """Compare the answers of a job."""
        state = self._state
        state.failures.add(pair.job_id, pair.stable, pair.candidate)
        state.timings.add(pair.stable, pair.candidate)
        if pair.stable.predictions is not None and pair.candidate.predictions is not None:
            self._add_rows(pair, pair.stable.predictions, pair.candidate.predictions)
        elif pair.stable.predictions is not None:
            # No answer is another answer.
            state.agreement.add(0, len(pair.stable.predictions))
        if pair.control is not None:
            self._add_control(pair.stable, pair.control)

    def report(self, stable: VersionFacts | None = None, candidate: VersionFacts | None = None) -> Report:
        """Return the report; the facts about the versions are shown beside it."""
        state, agreement = self._state, self._state.agreement.interval()
        noise_floor = self._noise_floor()
        excess = verdicts.excess(None if agreement is None else _complement(agreement), noise_floor)
        failures = state.failures.report()
        labels_right, numbers_close = state.truths.labels(), state.truths.numbers()
        evidence = Evidence(
            self.jobs, excess, failures, labels_right, numbers_close, self._number_scale(), state.options.margin
        )
        verdict, reason = verdicts.judge(evidence)
        reports = (field.report(path, state.options) for path, field in state.fields.items())
        return Report(
            report_version=REPORT_VERSION,
            verdict=verdict,
            reason=reason,
            jobs=self.jobs,
            rows=int(state.agreement.rows),
            agreement=agreement,
            noise_floor=noise_floor,
            excess=excess,
            fields=[each for each in reports if each is not None],
            failures=failures,
            timings=state.timings.report(),
            labels_right=labels_right,
            numbers_close=numbers_close,
            most_different=state.most_different,
            stable=stable,
            candidate=candidate,
        )

    def _add_rows(self, pair: Pair, stable: list[Any], candidate: list[Any]) -> None:
        state, options = self._state, self._state.options
        truths = pair.truths if pair.truths is not None and len(pair.truths) == len(stable) else [None] * len(stable)
        hits, of_fields = 0, dict[str, tuple[int, int]]()
        rows = zip(stable, candidate, truths, strict=False)
        for index, (one, other, truth) in enumerate(rows):
            agrees = fields.agree(one, other, options)
            hits += agrees
            if truth is not None:
                state.truths.add(one, other, truth, pair.weight, options)
            for path, first, second in _both(one, other):
                same = fields.same(first, second, options)
                field_hits, field_rows = of_fields.get(path, (0, 0))
                of_fields[path] = field_hits + same, field_rows + 1
                state.fields.setdefault(path, _Field()).add(first, second, truth)
            self._keep_if_most_different(pair, index, one, other, agrees=agrees)
        state.agreement.add(hits, max(len(stable), len(candidate)))
        for path, (field_hits, field_rows) in of_fields.items():
            state.fields[path].agreement.add(field_hits, field_rows)

    def _add_control(self, stable: Answer, control: Answer) -> None:
        if stable.predictions is None:
            return
        options, again = self._state.options, control.predictions or []
        pairs = zip(stable.predictions, again, strict=False)
        self._state.control.add(sum(fields.agree(one, other, options) for one, other in pairs), len(stable.predictions))

    def _keep_if_most_different(self, pair: Pair, row: int, stable: Any, candidate: Any, *, agrees: bool) -> None:
        kept, distance = self._state.most_different, fields.distance(stable, candidate)
        if not distance or (agrees and distance < 1e-9):
            return
        if len(kept) == _MOST_DIFFERENT and distance <= kept[-1].distance:
            return
        shown = pair.inputs[row] if row < len(pair.inputs) else None
        kept.append(Difference(pair.job_id, row, distance, *map(_cut, (shown, stable, candidate))))
        kept.sort(key=lambda each: -each.distance)
        del kept[_MOST_DIFFERENT:]

    def _noise_floor(self) -> NoiseFloor | None:
        control, found = self._state.control, self._state.control.interval()
        return None if found is None else NoiseFloor(control.jobs, int(control.rows), _complement(found))

    def _number_scale(self) -> float:
        means = [abs(each.numbers.stable_mean) for each in self._state.fields.values() if each.numbers.rows]
        return means[0] if means else 1.0


def _both(stable: Any, candidate: Any) -> Iterator[tuple[str, Any, Any]]:
    one, other = fields.fields(stable), fields.fields(candidate)
    for path, value in one.items():
        if path in other:
            yield path, value, other[path]


def _complement(share: Interval) -> Interval:
    return Interval(1 - share.value, 1 - share.high, 1 - share.low)


def _cut(value: Any) -> Any:
    encoded = msgspec.json.encode(value)
    return value if len(encoded) <= _SHOWN_BYTES else encoded[:_SHOWN_BYTES].decode(errors="ignore") + " …"
