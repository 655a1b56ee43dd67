"""The benchmark as its user runs it: a figure that fails is told, and no process is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from bench.catalogue import SIDE_BY_SIDE
from bench.figures.measurement import Measurement
from bench.models import QUADRATIC
from bench.report import Results
from bench.running import Runner
from bench.scale import TINY, Scale
from bench.systems.base import System, Unsupported
from tests.support.environment import REPOSITORY, clean_environment


class Named:
    def __init__(self, name: str) -> None:
        self.name = name


def fails_halfway(system: System, _: Scale) -> Iterator[Measurement]:
    yield Measurement("drain", QUADRATIC, 1.0)
    if system.name == "tutorial":
        raise RuntimeError("it broke\nin two lines")


def is_not_there(system: System, _: Scale) -> Iterator[Measurement]:
    if system.name:
        raise Unsupported("no such route")
    yield Measurement("drain", QUADRATIC, 1.0)


def run_both(monkeypatch: pytest.MonkeyPatch, figure: Any, rounds: int) -> tuple[Runner, Results]:
    monkeypatch.setitem(SIDE_BY_SIDE, "toy", ("a toy", figure))
    results = Results({})
    runner = Runner(TINY, results)
    for _ in range(rounds):
        runner.side_by_side(["toy"], cast("list[System]", [Named("queuecast"), Named("tutorial")]))
    return runner, results


def test_a_figure_that_fails_is_noted_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, results = run_both(monkeypatch, fails_halfway, 1)
    assert [each.system for each in results.samples] == ["queuecast", "tutorial"]
    assert results.notes == ["**Failed**, toy, tutorial, round 1: RuntimeError: it broke"]
    assert not runner.complete


def test_what_a_system_does_not_have_is_left_out_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, results = run_both(monkeypatch, is_not_there, 2)
    assert results.notes == [f"Left out, toy, {name}: no such route." for name in ("queuecast", "tutorial")]
    assert runner.complete


def bench(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        env=clean_environment(**variables), cwd=REPOSITORY, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_an_unknown_figure_is_refused_with_the_names_of_those_there_are() -> None:
    done = bench("--only", "speed")
    assert done.returncode == 2
    assert "there is no figure speed; there are submit, bulk, drain" in done.stderr


@pytest.mark.slow
def test_a_tiny_run_prints_the_table_and_leaves_nothing_behind(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    done = bench(
        "--tiny",
        "--only",
        "drain,latency",
        "--systems",
        "queuecast,tutorial",
        "--output",
        str(output),
        TMPDIR=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "| latency, one client, p50, ms | forest |" in done.stdout
    measured = {(each["key"], each["model"]) for each in json.loads(output.read_text())["summary"] if each["ratio"]}
    assert measured >= {
        ("drain", "forest"),
        ("drain", "quadratic"),
        ("latency_p95", "forest"),
        ("latency_p50", "quadratic"),
    }
    assert processes_that_name(tmp_path) == []


def processes_that_name(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder) in (entry.parent / "environ").read_text(errors="replace"):
                found.append(entry.read_text())
        except OSError:
            continue  # ended just now, or somebody else's
    return found
