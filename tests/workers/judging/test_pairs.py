"""Pairs of answers as JSON documents."""

from __future__ import annotations

import json
from dataclasses import asdict

from workers.judging.comparison.comparison import Comparison
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair


def test_a_pair_comes_back_from_its_document() -> None:
    pair = Pair("j", [[1.0]], Answer("1", ["a"], predict_ms=1.5), Answer("2", None, "model_error", "no"), truths=["a"])
    document = json.loads(json.dumps(asdict(pair)))
    assert Pair.from_document({**document, "later": 1}) == pair


def test_a_comparison_goes_on_after_a_restart() -> None:
    whole, first = Comparison(ComparisonOptions(seed="x")), Comparison(ComparisonOptions(seed="x"))
    pairs = [Pair(str(each), [each], Answer("1", [each]), Answer("2", [each // 2])) for each in range(40)]
    for pair in pairs:
        whole.add(pair)
    for pair in pairs[:20]:
        first.add(pair)
    second = Comparison.restored(json.loads(json.dumps(first.state())))
    for pair in pairs[20:]:
        second.add(pair)
    assert second.report() == whole.report()
    assert whole.report()["rows"] == 40
