"""How the labels of a field differ: which became which, and each class's share."""

from __future__ import annotations

import msgspec

from workers.judging.comparison.intervals import Interval, clopper_pearson

#: Labels beyond this many are counted together.
_MOST_LABELS = 50
OTHER_LABELS = "(other labels)"


class LabelChange(msgspec.Struct, frozen=True):
    """Rows with these two labels."""

    stable: str
    candidate: str
    rows: int


class ClassShare(msgspec.Struct, frozen=True):
    """The share of rows with a label, by version."""

    label: str
    stable: Interval
    candidate: Interval


class LabelReport(msgspec.Struct, frozen=True):
    """The labels of a field: all pairs of labels that occur, most rows first, and the share of each label."""

    labels: list[str]
    confusion: list[LabelChange]
    shares: list[ClassShare]


class Labels(msgspec.Struct):
    """Counts of labels."""

    #: Stable label -> candidate label -> rows.
    counts: dict[str, dict[str, int]] = {}
    known: list[str] = []

    def add(self, stable: str, candidate: str) -> None:
        """Count a row."""
        of_stable = self.counts.setdefault(self._known(stable), {})
        candidate = self._known(candidate)
        of_stable[candidate] = of_stable.get(candidate, 0) + 1

    def report(self) -> LabelReport:
        """Return the counts as a table."""
        changes = [
            LabelChange(stable, candidate, rows)
            for stable, of_stable in self.counts.items()
            for candidate, rows in of_stable.items()
        ]
        changes.sort(key=lambda each: (-each.rows, each.stable, each.candidate))
        labels = sorted(self.known, key=_natural)
        if any(OTHER_LABELS in (each.stable, each.candidate) for each in changes):
            labels.append(OTHER_LABELS)
        return LabelReport(labels, changes, [self._share(label, changes) for label in labels])

    @staticmethod
    def _share(label: str, changes: list[LabelChange]) -> ClassShare:
        rows = sum(each.rows for each in changes)
        stable = sum(each.rows for each in changes if each.stable == label)
        candidate = sum(each.rows for each in changes if each.candidate == label)
        return ClassShare(label, clopper_pearson(stable, rows), clopper_pearson(candidate, rows))

    def _known(self, label: str) -> str:
        if label not in self.known:
            if len(self.known) >= _MOST_LABELS:
                return OTHER_LABELS
            self.known.append(label)
        return label


def _natural(label: str) -> tuple[int, float, str]:
    """Sort numbers by value, before texts."""
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label
