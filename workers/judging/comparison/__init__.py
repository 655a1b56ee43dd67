"""How the answers of two versions compare: pairs go in, a report with a verdict comes out."""

from workers.judging.comparison.comparison import Comparison
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair

__all__ = ["Answer", "Comparison", "ComparisonOptions", "Pair"]
