"""The population stability index, with values computed by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from workers.judging.monitoring.drift import Bins, Collected, field_drift, fields_of, noise_of, stability_index


def test_the_index_is_the_sum_of_differences_times_logarithms() -> None:
    # (0.3 - 0.5) ln(0.3 / 0.5) + (0.7 - 0.5) ln(0.7 / 0.5)
    expected = -0.2 * math.log(0.6) + 0.2 * math.log(1.4)
    assert stability_index([50, 50], [30, 70]) == pytest.approx(expected)
    assert expected == pytest.approx(0.16946, abs=1e-5)
    assert stability_index([50, 50, 0], [10, 10, 0]) == 0


def test_an_empty_bin_counts_as_half_a_row() -> None:
    # 0 of 100 counts as 0.005; the other bin grows from 0.9 to 1.
    expected = (0.005 - 0.1) * math.log(0.005 / 0.1) + (1 - 0.9) * math.log(1 / 0.9)
    assert stability_index([10, 90], [0, 100]) == pytest.approx(expected)


def test_noise_grows_with_bins_and_falls_with_rows() -> None:
    assert noise_of([100] * 10, [50] * 10) == pytest.approx(9 * (1 / 1_000 + 1 / 500))
    assert noise_of([100, 0], [50, 0]) is None, "one bin"


@pytest.mark.parametrize(
    ("reference", "recent"),
    [([500, 500], [99, 100]), ([20] * 50, [10] * 50), ([1_000], [1_000]), ([500, 500], [0, 0])],
    ids=["too few rows", "too many bins", "one bin", "no rows"],
)
def test_there_is_no_index_where_chance_alone_may_make_it_large(reference: list[int], recent: list[int]) -> None:
    assert field_drift("input", reference, recent).index is None


def test_bins_of_numbers_end_at_deciles() -> None:
    bins = Bins.made(list(range(101)), 103)
    assert (bins.kind, bins.limits) == ("numbers", [10, 20, 30, 40, 50, 60, 70, 80, 90])
    # 0 to 10 are eleven; two rows have no value.
    assert bins.counts == [11, *[10] * 9, 0, 2]
    assert bins.counted([-5, 10, 10.5, 1_000, "text"], 6) == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]


def test_values_have_bins_if_they_are_frequent() -> None:
    bins = Bins.made(["a"] * 6 + ["b"] * 5 + ["c"] * 4, 15)
    assert (bins.limits, bins.counts) == (["a", "b"], [6, 5, 4, 0])
    assert bins.counted(["a", "x", None], 4) == [1, 0, 1, 2]
    few = Bins.made([1, 1.0, 2] * 10, 30)
    assert (few.kind, few.limits, few.counts) == ("values", ["1.0", "2.0"], [20, 10, 0, 0])


def test_fields_are_paths_and_texts_are_hashed() -> None:
    found = fields_of({"age": 41, "place": {"town": "Ulm"}, "ok": None}, [0.25, 0.75])
    assert list(found) == ["input.age", "input.place.town", "input.ok", "output.0", "output.1"]
    assert (found["input.age"], found["output.1"], found["input.ok"]) == (41, 0.75, None)
    assert "Ulm" not in str(found)
    assert fields_of({"a": "x"}, "x")["input.a"] == fields_of("x", None)["input"]


def collected(jobs: int, mean: float, seed: int) -> Collected:
    chosen, found = random.Random(seed), Collected()
    for _ in range(jobs):
        value = chosen.gauss(mean, 1.0)
        found.add([[value, chosen.choice(["a", "b", "c"])]], [value > 0])
    return found


def indexes(found: Collected, reference: Collected) -> dict[str, Any]:
    return {each.field: each.index for each in found.drift(reference.bins())}


def test_a_shift_of_one_deviation_is_large_and_no_shift_is_small() -> None:
    reference = collected(1_000, 0.0, 1)
    same, moved = collected(1_000, 0.0, 2), collected(1_000, 1.0, 3)
    assert max(indexes(same, reference).values()) < 0.1
    found = indexes(moved, reference)
    # For normal values that move by one deviation, the index of the whole densities is 1; bins see less.
    assert 0.6 < found["input.0"] < 1.2
    assert found["input.1"] < 0.1
    assert found["output"] > 0.25


def test_a_field_that_is_missing_now_drifts() -> None:
    reference, now = collected(1_000, 0.0, 1), Collected()
    for _ in range(300):
        now.add([[0.5]], [True])
    assert indexes(now, reference)["input.1"] > 1


def test_a_job_contributes_few_rows() -> None:
    found = Collected()
    found.add([[1.0]] * 500, [1.0] * 500)
    assert (found.jobs, found.rows) == (1, 10)


def test_without_a_change_the_index_is_about_its_noise() -> None:
    chosen, indexes, noise = random.Random(7), list[float](), 0.0
    for _ in range(100):
        reference, recent = ([chosen.gauss(0.0, 1.0) for _ in range(1_000)] for _ in range(2))
        bins = Bins.made(reference, 1_000)
        found = field_drift("input", bins.counts, bins.counted(recent, 1_000))
        assert found.index is not None
        assert found.noise is not None
        indexes.append(found.index)
        noise = found.noise
    assert sum(indexes) / len(indexes) == pytest.approx(noise, rel=0.15)
    assert max(indexes) < 0.1
