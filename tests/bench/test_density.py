"""The study of many models: the same jobs with and without others, and a verdict that sees what is wrong."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

from bench.density import report
from bench.density.kinds import Kind
from bench.density.load import Job, arrivals
from bench.density.report import Results
from bench.density.service import Repeated, Watched

NAMES = [f"d{number}" for number in range(50)]
OPTIONS = argparse.Namespace(deployments=50, workers=2, budget_mb=100, error_mb=4)


def results(among_s: float = 0.012, **changes: bool | str) -> Results:
    found = Results(frozenset({"d0"}), cold_ms=[100.0, 100.0, 900.0], cold_killed_ms=[900.0])
    found.alone = [[Job("d0", 0.010)] * 3, [Job("d0", 0.010)] * 3, [Job("d0", 0.500)] * 3]
    found.among = [[Job("d0", among_s), Job("d1", 3.0)]] * 3
    found.killed = [[Job("d1", 1.0, **changes)]]  # type: ignore[arg-type]
    return found


def watched(most_mb: float = 99.0) -> Watched:
    return Watched(memory_mb={"worker0": [(0.0, 50.0), (5.0, most_mb)], "worker1": [(0.0, 10.0)]}, worker_kills=[3.0])


def test_the_same_seed_draws_the_same_jobs_the_first_deployment_the_most_often() -> None:
    kind_of = dict.fromkeys(NAMES, Kind("kind", b"", [[0.0], [1.0]], [0, 1]))
    first, again = (list(arrivals(kind_of, 1.1, 20.0, 60.0, seed)) for seed in (1, 1))
    assert first == again
    assert first != list(arrivals(kind_of, 1.1, 20.0, 60.0, seed=2))
    assert 1_000 < len(first) < 1_400
    counts = [sum(each.name == name for each in first) for name in NAMES]
    assert counts[0] == max(counts) > 3 * counts[9]
    assert all(0 <= each.at_s < 60 and each.row in (0, 1) for each in first)


def test_the_ratio_is_that_of_the_medians_of_rounds_and_counts_the_hottest_alone() -> None:
    assert round(results().hot_ratio, 3) == 1.2
    rows = dict(report.table(results(), watched(), OPTIONS))
    assert rows["hottest: p95 among all to alone"] == "1.20"
    assert rows["jobs, failed, wrong"] == "16, 0, 0"
    assert rows["peak memory of a worker, budget (MiB)"] == "99, 100"
    assert rows["cold start without kills p50, p95 (ms)"] == "100, 100"


def test_a_job_without_its_right_answer_and_memory_over_the_budget_are_problems() -> None:
    assert report.problems(results(), watched(103.9), OPTIONS) == []
    assert report.problems(results(is_wrong=True), watched(), OPTIONS) == ["1 wrong answers, of d1"]
    assert report.problems(results(failed="d1: 500"), watched(), OPTIONS) == ["d1: 500"]
    assert report.problems(results(), watched(105.0), OPTIONS) == ["105 MiB in use, of 100"]


def test_the_memory_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "new" / "memory.png"
    report.draw(watched(), 100, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_an_interval_of_kills_may_be_longer_than_a_round_with_kills() -> None:
    killed = threading.Event()
    kills = Repeated(killed.set, lambda: 0.2)
    rounds = 0
    while not killed.is_set() and rounds < 100:
        with kills.meanwhile():
            killed.wait(0.02)
        rounds += 1
    assert killed.is_set()
    assert rounds > 1
