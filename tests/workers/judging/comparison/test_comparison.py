"""Comparisons of two versions: planted changes are found, and what is no change is not."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from workers.judging.comparison import Answer, Comparison, ComparisonOptions, Pair
from workers.judging.comparison.report import Report


def answer(version: str, *predictions: Any, **facts: Any) -> Answer:
    return Answer(version, list(predictions), **facts)


def error(version: str, code: str = "prediction_failed", message: str = "ValueError: no") -> Answer:
    return Answer(version, None, code, message)


def pair(stable: Any, candidate: Any, job_id: str = "job", **more: Any) -> Pair:
    return Pair(job_id, [0.5], answer("1", stable), answer("2", candidate), **more)


def compared(pairs: Sequence[Pair], **options: Any) -> Report:
    comparison = Comparison(ComparisonOptions(**options))
    for each in pairs:
        comparison.add(each)
    return comparison.report()


def flipped(share: float, seed: int, jobs: int = 500) -> Report:
    chance = random.Random(seed)
    labels = [chance.choice("ab") for _ in range(jobs)]
    others = [{"a": "b", "b": "a"}[label] if chance.random() < share else label for label in labels]
    return compared([pair(*each) for each in zip(labels, others, strict=True)])


@pytest.mark.parametrize(
    ("share", "verdicts"),
    [
        (0.0, {"same"}),
        (0.005, {"same", "inconclusive"}),
        (0.02, {"differs", "inconclusive"}),
        (0.1, {"differs"}),
    ],
)
def test_the_interval_covers_a_planted_change(share: float, verdicts: set[str]) -> None:
    reports = [flipped(share, seed) for seed in range(200)]
    intervals = [report.agreement for report in reports if report.agreement is not None]
    assert sum(each.low <= 1 - share <= each.high for each in intervals) >= 190
    assert {report.verdict for report in reports} == verdicts


@pytest.mark.parametrize(
    ("stable", "candidate", "agree"),
    [
        ("cat", "cat", True),
        ("cat", "dog", False),
        (True, 1, False),
        (1, 1, True),
        (1, 2, False),
        (1.0, 1.0 + 1e-8, True),
        (1.0, 1.01, False),
        (1, 1.0, True),
        ({"label": "a", "score": 0.2}, {"label": "a", "score": 0.9}, True),
        ({"label": "a", "score": 0.2}, {"label": "b", "score": 0.2}, False),
        ({"a": 0.4, "b": 0.6}, {"a": 0.3, "b": 0.7}, True),
        ({"a": 0.4, "b": 0.6}, {"a": 0.6, "b": 0.4}, False),
        ([0.1, 0.2, 0.7], [0.1, 0.3, 0.6], True),
        ([1.5, 2.5], [1.5, 2.5], True),
        ([1.5, 2.5], [1.5, 2.6], False),
        ([float(n) for n in range(50)], [float(n) for n in range(50)], True),
        ([float(n) for n in range(50)], [float(n) for n in range(1, 51)], False),
        ({"x": {"y": "a"}}, {"x": {"y": "b"}}, False),
        ({"x": 1.0}, {"y": 1.0}, False),
        (["a", "b"], ["a", "b"], True),
        (None, None, True),
        (None, "a", False),
    ],
)
def test_whether_two_predictions_agree(stable: Any, candidate: Any, agree: bool) -> None:
    found = compared([pair(stable, candidate)]).agreement
    assert found is not None
    assert found.value == float(agree)


def test_tolerances_are_options() -> None:
    assert compared([pair(10.0, 10.4)], absolute_tolerance=0.5).agreement.value == 1  # type: ignore[union-attr]
    assert compared([pair(100.0, 104.0)], relative_tolerance=0.05).agreement.value == 1  # type: ignore[union-attr]
    assert compared([pair(3, 4)], absolute_tolerance=1, output_kind="number").agreement.value == 1  # type: ignore[union-attr]


def test_which_label_became_which() -> None:
    pairs = [pair("a", "a")] * 6 + [pair("a", "b")] * 3 + [pair("b", "b")]
    [field] = compared(pairs).fields
    assert field.labels is not None
    assert [(each.stable, each.candidate, each.rows) for each in field.labels.confusion] == [
        ("a", "a", 6),
        ("a", "b", 3),
        ("b", "b", 1),
    ]
    [a, b] = field.labels.shares
    assert (a.stable.value, a.candidate.value, b.stable.value, b.candidate.value) == (0.9, 0.6, 0.1, 0.4)


def test_how_far_numbers_are_apart() -> None:
    chance = np.random.default_rng(3)
    stable = chance.normal(10, 2, 1_000)
    candidate = stable + chance.normal(0.1, 0.5, 1_000)
    report = compared([pair(float(one), float(other)) for one, other in zip(stable, candidate, strict=True)])
    [field] = report.fields
    numbers = field.numbers
    assert numbers is not None
    assert numbers.correlation == pytest.approx(np.corrcoef(stable, candidate)[0, 1], abs=1e-9)
    for each in numbers.absolute_difference:
        assert each.value == pytest.approx(np.quantile(np.abs(candidate - stable), each.share), abs=1e-9)
    for each in numbers.relative_difference:
        assert each.value == pytest.approx(
            np.quantile(np.abs(candidate - stable) / np.abs(stable), each.share), abs=1e-9
        )
    assert sum(each.rows for each in numbers.histogram) == 1_000
    assert report.verdict == "differs"


def test_numbers_that_never_change_have_no_correlation() -> None:
    [field] = compared([pair(0.1, 0.1 + n / 10) for n in range(30)]).fields
    assert field.numbers is not None
    assert field.numbers.correlation is None


def test_integers_with_many_values_are_numbers() -> None:
    few, many = compared([pair(n % 5, n % 5) for n in range(200)]), compared([pair(n, n + 1) for n in range(200)])
    assert few.fields[0].labels is not None
    assert few.fields[0].numbers is None
    assert many.fields[0].numbers is not None
    assert many.fields[0].labels is None


def test_probabilities_and_their_calibration() -> None:
    truths = ["a"] * 8 + ["b"] * 2
    pairs = [
        pair({"a": 0.85, "b": 0.15}, {"a": 0.45, "b": 0.55}, truths=[truth]) for truth in truths
    ]  # fmt: skip
    [field] = compared(pairs).fields
    found = field.probabilities
    assert found is not None
    assert [(each.label, each.up, each.down) for each in found.crossings] == [("a", 0, 10), ("b", 10, 0)]
    assert found.change[0].value == pytest.approx(0.4)
    assert found.stable_calibration is not None
    assert found.candidate_calibration is not None
    assert found.stable_calibration.error == pytest.approx(0.05)
    assert found.candidate_calibration.error == pytest.approx(0.55 - 0.2)


def test_which_errors_are_new_and_which_are_gone() -> None:
    fine = [pair("a", "a", f"fine-{n}") for n in range(90)]
    new = [Pair(f"new-{n}", [0], answer("1", "a"), error("2")) for n in range(8)]
    gone = [Pair("gone", [0], error("1", "input_rejected", "bad"), answer("2", "a"))]
    both = [Pair("both", [0], error("1"), error("2"))]
    report = compared([*fine, *new, *gone, *both])
    failures = report.failures
    assert failures is not None
    assert (failures.stable, failures.candidate, failures.both) == (2, 9, 1)
    assert [(each.code, each.jobs, each.job_id) for each in failures.new] == [("prediction_failed", 8, "new-0")]
    assert [(each.code, each.job_id) for each in failures.gone] == [("input_rejected", "gone")]
    assert report.verdict == "worse"
    assert "8 of 100 jobs fail on the candidate" in report.reason


def test_the_noise_floor_is_taken_off() -> None:
    chance = random.Random(5)

    def noisy(label: str) -> str:
        return label if chance.random() > 0.1 else "other"

    def noisy_pair(number: int) -> Pair:
        control = answer("1", noisy("a")) if number % 2 else None
        return Pair(str(number), [0], answer("1", noisy("a")), answer("2", noisy("a")), control=control)

    report = compared([noisy_pair(number) for number in range(4_000)], margin=0.05)
    assert report.noise_floor is not None
    assert report.agreement is not None
    assert report.agreement.value == pytest.approx(0.82, abs=0.02)
    assert report.noise_floor.disagreement.value == pytest.approx(0.18, abs=0.02)
    assert report.verdict == "same"


@pytest.mark.parametrize(
    ("stable_right", "candidate_right", "verdict"), [(0.8, 0.9, "better"), (0.9, 0.8, "worse"), (1.0, 1.0, "same")]
)
def test_labels_with_known_truths_are_judged_by_them(stable_right: float, candidate_right: float, verdict: str) -> None:
    chance = random.Random(7)

    def guess(share: float) -> str:
        return "right" if chance.random() < share else "wrong"

    pairs = [pair(guess(stable_right), guess(candidate_right), truths=["right"]) for _ in range(1_000)]
    report = compared(pairs)
    assert report.verdict == verdict
    assert report.labels_right is not None
    assert report.labels_right.stable_accuracy == pytest.approx(stable_right, abs=0.04)
    assert report.labels_right.candidate_accuracy == pytest.approx(candidate_right, abs=0.04)
    assert (report.labels_right.p_value < 0.01) == (verdict != "same")


def test_numbers_with_known_truths_are_judged_by_their_errors() -> None:
    chance = random.Random(8)
    truths = [chance.uniform(5, 15) for _ in range(500)]
    pairs = [pair(truth + chance.gauss(0, 1), truth + chance.gauss(0, 0.5), truths=[truth]) for truth in truths]
    report = compared(pairs)
    assert report.verdict == "better"
    assert report.numbers_close is not None
    assert report.numbers_close.stable_root_error == pytest.approx(1, abs=0.1)
    assert report.numbers_close.candidate_root_error == pytest.approx(0.5, abs=0.05)


def test_weights_count() -> None:
    light = [pair("right", "wrong", truths=["right"], weight=0.1) for _ in range(100)]
    heavy = [pair("wrong", "right", truths=["right"], weight=10) for _ in range(100)]
    assert compared([*light, *heavy]).verdict == "better"


def test_a_truth_may_name_the_field_that_it_is_of() -> None:
    pairs = [pair({"kind": "a", "age": 30.0}, {"kind": "a", "age": 40.0}, truths=[{"age": 40.0}]) for _ in range(40)]
    found = compared(pairs).numbers_close
    assert found is not None
    assert (found.stable_mean_error, found.candidate_mean_error) == (10, 0)


def test_predict_times_are_compared_at_equal_batch_sizes_only() -> None:
    pairs = [
        Pair(
            "job", [0], answer("1", 1.5, predict_ms=2.0, batch_size=8), answer("2", 1.5, predict_ms=ms, batch_size=size)
        )
        for ms, size in [(6.0, 8)] * 10 + [(1.0, 16)] * 10
    ]
    timings = compared(pairs).timings
    assert [(each.batch_size, each.stable_ms, each.candidate_ms) for each in timings.by_batch_size] == [(8, 2.0, 6.0)]
    assert timings.ratio == 3.0


def test_the_pairs_that_differ_most_come_first() -> None:
    report = compared([pair(100.0, 100.0 + n, f"job-{n}") for n in range(100)])
    assert [each.job_id for each in report.most_different] == [f"job-{n}" for n in range(99, 79, -1)]


def test_with_few_jobs_nothing_is_said() -> None:
    report = compared([pair("a", "b")] * 19)
    assert report.verdict == "inconclusive"
    assert report.reason == "Only 19 jobs were compared; 20 are needed."


def test_a_comparison_goes_on_from_its_state() -> None:
    chance = random.Random(4)
    pairs = [
        pair({"n": chance.random(), "l": chance.choice("ab")}, {"n": chance.random(), "l": "a"}) for _ in range(300)
    ]
    whole, half = Comparison(), Comparison()
    for each in pairs:
        whole.add(each)
    for each in pairs[:150]:
        half.add(each)
    resumed = Comparison.restored(json.loads(json.dumps(half.state())))
    for each in pairs[150:]:
        resumed.add(each)
    assert msgspec.json.encode(resumed.report()) == msgspec.json.encode(whole.report())


def test_its_state_has_a_bound() -> None:
    comparison, chance = Comparison(), random.Random(2)
    for number in range(12_000):
        value = chance.random()
        prediction = {"number": value, "label": str(number), "shares": [value, 1 - value]}
        comparison.add(pair(prediction, {**prediction, "number": chance.random()}))
        if number == 6_000:
            before = len(json.dumps(comparison.state()))
    assert len(json.dumps(comparison.state())) < 1.05 * before
