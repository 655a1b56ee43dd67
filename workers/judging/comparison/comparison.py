"""Adds up pairs of answers; the report is made from the sums."""

from __future__ import annotations

from typing import Any, Self

from workers.judging.comparison.intervals import ShareTally
from workers.judging.comparison.leaves import leaves
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair

#: Of the state and of the report; grows with a change that readers notice.
VERSION = 1


class Comparison:
    """The comparison of two versions; its memory is bounded, and its state is JSON."""

    def __init__(self, options: ComparisonOptions) -> None:
        self.options = options
        self._agreement = ShareTally()

    def add(self, pair: Pair) -> None:
        """Add the answers to one job."""
        rows = len(pair.inputs)
        self._agreement.add(sum(_agreeing(pair.stable, pair.candidate, rows, self.options)), rows)

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON; `restored` goes on with them."""
        return {"version": VERSION, "options": self.options.document(), "agreement": self._agreement.state()}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the comparison of a state."""
        comparison = cls(ComparisonOptions.from_document(state["options"]))
        comparison._agreement = ShareTally.restored(state["agreement"])
        return comparison

    def report(self, facts: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the report document; `facts` are those of the versions: memory and load time."""
        agreement = self._agreement
        different = agreement.interval().complement
        margin = self.options.margin
        verdict = "same" if different.high <= margin else "differs" if different.low > margin else "inconclusive"
        return {
            "version": VERSION,
            "verdict": verdict,
            "reason": f"{different.estimate:.2%} of the rows differ.",
            "jobs": agreement.jobs,
            "rows": agreement.rows,
            "agreement": agreement.interval().document(),
            "facts": facts or {},
        }


def _agreeing(stable: Answer, candidate: Answer, rows: int, options: ComparisonOptions) -> list[bool]:
    if stable.predictions is None or candidate.predictions is None:
        return [stable.predictions is candidate.predictions] * rows
    both = zip(stable.predictions, candidate.predictions, strict=True)
    return [all(leaf.agrees(options) for leaf in leaves(first, second, options)) for first, second in both]
