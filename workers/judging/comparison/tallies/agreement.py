"""The share of rows in which two versions agree: of all jobs, and beside the control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from workers.judging.comparison.document import Agreement, Estimate, Noise
from workers.judging.comparison.leaves import Leaf, leaves
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair
from workers.judging.comparison.statistics.intervals import ShareTally, difference_interval

_WHAT = ("all", "beside_control", "control")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a job: the fields of both answers; None if only one version answered."""

    leaves: Sequence[Leaf] | None

    def agrees(self, options: ComparisonOptions, *, integers_are_numbers: bool) -> bool:
        """Whether the versions agree in all fields."""
        if self.leaves is None:
            return False
        return all(each.agrees(options, integers_are_numbers=integers_are_numbers) for each in self.leaves)


def rows_of(stable: Answer, candidate: Answer, options: ComparisonOptions) -> list[Row]:
    """Return the rows that at least one version answered."""
    first, second = stable.predictions, candidate.predictions
    if first is None or second is None or len(first) != len(second):
        return [Row(None)] * max(len(first or []), len(second or []))
    return [Row(tuple(leaves(*both, options))) for both in zip(first, second, strict=True)]


class AgreementTally:
    """Counts rows that agree, with integers as labels and as numbers: the report decides which they are."""

    def __init__(self) -> None:
        self._shares = {name: [ShareTally(), ShareTally()] for name in _WHAT}

    def add(self, pair: Pair, rows: Sequence[Row], options: ComparisonOptions) -> None:
        """Add a job."""
        self._add("all", rows, options)
        if pair.control is not None and pair.stable.predictions is not None:
            self._add("beside_control", rows, options)
            self._add("control", rows_of(pair.stable, pair.control, options), options)

    def report(self, *, integers_are_numbers: bool) -> Agreement:
        """Return the part of the report about all rows."""
        share = self._shares["all"][integers_are_numbers]
        interval = share.interval()
        return Agreement(
            estimate=interval.estimate,
            low=interval.low,
            high=interval.high,
            jobs=share.jobs,
            rows=share.rows,
            agreeing_rows=share.hits,
            design_effect=share.design_effect if share.rows else 1.0,
        )

    def noise(self, *, integers_are_numbers: bool) -> Noise | None:
        """Return the part of the report about the control; None without one.

        Whether the disagreement is above the floor has one side, so it is tested with a one-sided interval.
        """
        control, beside, whole = (
            self._shares[name][integers_are_numbers] for name in ("control", "beside_control", "all")
        )
        if not control.rows:
            return None
        floor, all_rows = control.interval().complement, whole.interval().complement
        one_sided = difference_interval(
            whole.interval(one_sided=True).complement, control.interval(one_sided=True).complement
        )
        return Noise(
            jobs=control.jobs,
            rows=control.rows,
            floor=Estimate(**floor.document()),
            candidate=Estimate(**beside.interval().complement.document()),
            excess=Estimate(**difference_interval(all_rows, floor).document()),
            above=one_sided.low > 0,
        )

    def state(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return {name: [each.state() for each in both] for name, both in self._shares.items()}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the tally of a state."""
        tally = cls()
        tally._shares = {name: [ShareTally.restored(each) for each in both] for name, both in state.items()}
        return tally

    def _add(self, name: str, rows: Sequence[Row], options: ComparisonOptions) -> None:
        for as_numbers, tally in enumerate(self._shares[name]):
            agreeing = sum(each.agrees(options, integers_are_numbers=bool(as_numbers)) for each in rows)
            tally.add(agreeing, len(rows))
