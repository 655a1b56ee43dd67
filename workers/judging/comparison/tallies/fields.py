"""One field of the predictions: its kind over all rows, and the sums of this kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from workers.judging.comparison.agreeing import agrees_if
from workers.judging.comparison.document import Estimate, ReportField
from workers.judging.comparison.leaves import Leaf, LeafKind, label_text
from workers.judging.comparison.pairs import ComparisonOptions
from workers.judging.comparison.statistics.intervals import ShareTally
from workers.judging.comparison.tallies.labels import LabelTally
from workers.judging.comparison.tallies.numbers import NumberTally
from workers.judging.comparison.tallies.probabilities import ProbabilityTally

#: Kinds with a number on both sides, of which details are kept.
NUMERIC = frozenset({LeafKind.INTEGER, LeafKind.NUMBER, LeafKind.PROBABILITY})
_LABELS = frozenset({LeafKind.LABEL, LeafKind.INTEGER})


class FieldTally:
    """Sums of one field.

    A field with both integers and other numbers has numbers. A field of integers alone has labels, unless there are
    more than 50 different ones, or more than half as many as rows.
    """

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._agreement = {"labels": ShareTally(), "numbers": ShareTally()}
        self._labels, self._numbers, self._probabilities = LabelTally(), NumberTally(), ProbabilityTally()

    @property
    def kind(self) -> LeafKind:
        """What the field is; `INTEGER` never."""
        counts = self._kinds
        if counts[LeafKind.NUMBER]:
            return LeafKind.NUMBER
        if counts[LeafKind.INTEGER] and not counts[LeafKind.LABEL]:
            if counts[LeafKind.PROBABILITY]:
                return LeafKind.PROBABILITY
            return LeafKind.NUMBER if self._labels.are_numbers else LeafKind.LABEL
        known = [kind for kind, _ in counts.most_common() if kind != LeafKind.INTEGER]
        return LeafKind(next((kind for kind in known if kind != LeafKind.OTHER), LeafKind.OTHER))

    @property
    def integers_are_numbers(self) -> bool:
        """Whether the integers of this field are numbers."""
        return bool(self._kinds[LeafKind.INTEGER]) and self.kind is not LeafKind.LABEL

    def add(self, leaves: Sequence[Leaf], options: ComparisonOptions) -> None:
        """Add the field's values of one job."""
        as_labels = sum(each.agrees(options) for each in leaves)
        as_numbers = sum(each.agrees(options, integers_are_numbers=True) for each in leaves)
        self._agreement["labels"].add(as_labels, len(leaves))
        self._agreement["numbers"].add(as_numbers, len(leaves))
        for leaf in leaves:
            self._add(leaf, options)

    def report(self, path: str, sampled: Sequence[tuple[float, float]], options: ComparisonOptions) -> ReportField:
        """Return the part of the report; `sampled` are pairs of numbers of the field."""
        kind = self.kind
        agreement = self._agreement["labels" if kind is LeafKind.LABEL else "numbers"]
        is_probability = kind in {LeafKind.PROBABILITY, LeafKind.PROBABILITIES}
        return ReportField(
            path=path,
            kind=kind,
            rows=agreement.rows,
            agreement=Estimate(**agreement.interval().document()),
            agrees_if=agrees_if(kind, options),
            labels=self._labels.report() if kind is LeafKind.LABEL else None,
            numbers=self._numbers.report(sampled) if kind in NUMERIC else None,
            probabilities=self._probabilities.report(options.threshold) if is_probability else None,
        )

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON."""
        return {
            "kinds": dict(self._kinds),
            "agreement": {name: each.state() for name, each in self._agreement.items()},
            "labels": self._labels.state(),
            "numbers": self._numbers.state(),
            "probabilities": self._probabilities.state(),
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the tally of a state."""
        tally = cls()
        tally._kinds = Counter(state["kinds"])
        tally._agreement = {name: ShareTally.restored(each) for name, each in state["agreement"].items()}
        tally._labels = LabelTally.restored(state["labels"])
        tally._numbers = NumberTally.restored(state["numbers"])
        tally._probabilities = ProbabilityTally.restored(state["probabilities"])
        return tally

    def _add(self, leaf: Leaf, options: ComparisonOptions) -> None:
        self._kinds[leaf.kind.value] += 1
        if leaf.kind in NUMERIC:
            self._numbers.add(leaf.stable, leaf.candidate)
        if leaf.kind in _LABELS:
            self._labels.add(label_text(leaf.stable), label_text(leaf.candidate))
        elif leaf.kind in {LeafKind.PROBABILITY, LeafKind.PROBABILITIES}:
            self._probabilities.add(leaf, options.threshold)
