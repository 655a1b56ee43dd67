"""Says in words when the answers of two versions count as agreeing, for the kinds of fields that were compared."""

from __future__ import annotations

from collections.abc import Iterable

from workers.judging.comparison.leaves import LeafKind
from workers.judging.comparison.pairs import ComparisonOptions


def agrees_if(kind: LeafKind, options: ComparisonOptions) -> str:
    """Return when values of one kind agree, as the end of a sentence: `labels are equal`."""
    if kind in {LeafKind.NUMBER, LeafKind.INTEGER}:
        share = f"{100 * options.relative_tolerance:g} % of the larger one"
        return f"numbers differ by at most {share}, or by {options.absolute_tolerance:g}"
    if kind is LeafKind.PROBABILITIES:
        return f"probabilities differ by at most {options.probability_tolerance:g} each, and the same class wins"
    if kind is LeafKind.PROBABILITY:
        allowed = f"{options.probability_tolerance:g}"
        return f"a probability differs by at most {allowed}, and is on the same side of {options.threshold:g}"
    return "labels are equal" if kind is LeafKind.LABEL else "values are equal"


def rows_agree_if(kinds: Iterable[LeafKind], options: ComparisonOptions) -> str:
    """Return when rows agree that have fields of these kinds, as a sentence."""
    found = dict.fromkeys(agrees_if(kind, options) for kind in LeafKind if kind in set(kinds))
    return f"Rows agree if {'; '.join(found)}." if found else "No row that both versions answered was compared."
