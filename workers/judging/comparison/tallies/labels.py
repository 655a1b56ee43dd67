"""Labels of one field: a confusion table of bounded size, and how often each version answers each class."""

from __future__ import annotations

from collections import Counter
from typing import Any, Self

from workers.judging.comparison.document import Confusion, Estimate, LabelClass, Labels
from workers.judging.comparison.statistics.intervals import difference_interval, share_interval

MAX_CLASSES = 50
OTHER = "(other)"
_LONGEST_LABEL = 100
#: Integers are numbers if more than this part of their rows have a value of their own, and rows are not few.
_DISTINCT_SHARE, _MANY_ROWS = 0.5, 20


class LabelTally:
    """Counts pairs of labels; those beyond the first 50 classes count as one."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._classes: set[str] = set()
        self._overflowed = False

    def add(self, stable: str, candidate: str) -> None:
        """Add a row."""
        self._pairs[self._class(stable), self._class(candidate)] += 1

    @property
    def are_numbers(self) -> bool:
        """Whether so many different integers are numbers rather than labels."""
        rows = self._pairs.total()
        return self._overflowed or (rows >= _MANY_ROWS and len(self._classes) > rows * _DISTINCT_SHARE)

    def report(self) -> Labels | None:
        """Return the part of the report; None without a row."""
        rows = self._pairs.total()
        if not rows:
            return None
        pairs = sorted(self._pairs.items(), key=lambda each: (-each[1], each[0]))
        return Labels(
            rows=rows,
            classes=[self._change(label, rows) for label in sorted({each for pair in self._pairs for each in pair})],
            confusion=[Confusion(stable=pair[0], candidate=pair[1], rows=each) for pair, each in pairs],
            complete=not self._overflowed,
        )

    def state(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return {"pairs": [[*pair, each] for pair, each in self._pairs.items()], "overflowed": self._overflowed}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the tally of a state."""
        tally = cls()
        tally._pairs = Counter({(first, second): each for first, second, each in state["pairs"]})
        tally._classes = {each for pair in tally._pairs for each in pair} - {OTHER}
        tally._overflowed = state["overflowed"]
        return tally

    def merge(self, other: LabelTally) -> None:
        """Add the rows of another tally."""
        self._overflowed = self._overflowed or other._overflowed
        for (stable, candidate), rows in other._pairs.items():
            self._pairs[self._class(stable), self._class(candidate)] += rows

    def _class(self, label: str) -> str:
        if label == OTHER and self._overflowed:
            return OTHER
        label = label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
        if label in self._classes:
            return label
        if len(self._classes) >= MAX_CLASSES:
            self._overflowed = True
            return OTHER
        self._classes.add(label)
        return label

    def _change(self, label: str, rows: int) -> LabelClass:
        stable = sum(each for pair, each in self._pairs.items() if pair[0] == label)
        candidate = sum(each for pair, each in self._pairs.items() if pair[1] == label)
        both = self._pairs[label, label]
        change = difference_interval(share_interval(candidate - both, rows), share_interval(stable - both, rows))
        return LabelClass(
            label=label,
            stable_share=stable / rows,
            candidate_share=candidate / rows,
            change=Estimate(**change.document()),
        )
