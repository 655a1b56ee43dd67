"""Example reports of comparisons, made by the real comparison."""

from __future__ import annotations

import math
import random
from typing import Any

from workers.judging.comparison.comparison import Comparison
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair

FACTS = {"stable": {"memory_mb": 118.2, "load_s": 0.8}, "candidate": {"memory_mb": 164.9, "load_s": 1.4}}
LABELS = ("bird", "cat", "dog", "fox")


def labels_report(jobs: int = 800) -> dict[str, Any]:
    """Return the report of a candidate that confuses cats with dogs, fails at times, and has truths."""
    chance = random.Random(7)
    comparison = Comparison(ComparisonOptions(seed="labels"))
    for number in range(jobs):
        truth = chance.choice(LABELS)
        stable = truth if chance.random() < 0.9 else chance.choice(LABELS)
        candidate = "dog" if truth == "cat" and chance.random() < 0.4 else stable
        sure, less_sure = 0.7 + 0.29 * chance.random(), 0.5 + 0.4 * chance.random()
        failed = number % 97 == 5
        comparison.add(
            Pair(
                f"{number:08x}-0000-4000-8000-00000000{number:04x}",
                [[round(chance.random(), 3), round(chance.random(), 3)]],
                Answer(
                    "3", [{"label": stable, "confidence": round(sure, 3)}], predict_ms=4 + chance.random(), batch_size=8
                ),
                Answer(
                    "4",
                    None if failed else [{"label": candidate, "confidence": round(less_sure, 3)}],
                    "model_error" if failed else None,
                    f"ValueError: could not convert row {number}" if failed else None,
                    predict_ms=6 + chance.random(),
                    batch_size=8,
                ),
                Answer("3", [{"label": stable, "confidence": round(sure, 3)}]) if number % 10 == 0 else None,
                truths=[{"label": truth}],
            )
        )
    return comparison.report(FACTS)


def numbers_report(jobs: int = 600) -> dict[str, Any]:
    """Return the report of a candidate that answers slightly higher numbers, at other batch sizes."""
    chance = random.Random(11)
    comparison = Comparison(ComparisonOptions(seed="numbers"))
    for number in range(jobs):
        x = chance.uniform(-3, 3)
        stable = 100 * math.sin(x) + 300
        candidate = stable + chance.gauss(0.6, 1.2)
        truths = [stable + chance.gauss(0, 4)] if number % 3 == 0 else None
        first, second = (
            Answer("1", [stable], predict_ms=2.0, batch_size=1),
            Answer("2", [candidate], predict_ms=9.0, batch_size=16),
        )
        comparison.add(Pair(f"{number:08x}-1111-4000-8000-000000000000", [[x]], first, second, truths=truths))
    return comparison.report()


def probabilities_report(jobs: int = 600) -> dict[str, Any]:
    """Return the report of a candidate whose probabilities fit the truths better."""
    chance = random.Random(13)
    comparison = Comparison(ComparisonOptions(seed="probabilities"))
    for number in range(jobs):
        real = chance.random()
        sharper = min(1.0, max(0.0, 0.5 + (real - 0.5) * 1.6))
        stable, candidate = [1 - sharper, sharper], [1 - real, real]
        answers = (
            Answer("1", [stable], predict_ms=2.0, batch_size=1),
            Answer("2", [candidate], predict_ms=2.0, batch_size=1),
        )
        truths = [int(chance.random() < real)]
        comparison.add(Pair(f"{number:08x}-2222-4000-8000-000000000000", [[real]], *answers, answers[0], truths))
    return comparison.report()


def same_report(jobs: int = 400) -> dict[str, Any]:
    """Return the report of a candidate that answers the same."""
    comparison = Comparison(ComparisonOptions(seed="same"))
    for number in range(jobs):
        answer = [LABELS[number % 4]]
        comparison.add(
            Pair(f"{number:08x}-3333-4000-8000-000000000000", [[number]], Answer("1", answer), Answer("2", answer))
        )
    return comparison.report()
