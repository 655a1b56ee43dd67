"""The benchmark as its user runs it: a figure that fails is told, and no process is left behind."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from bench.catalogue import SIDE_BY_SIDE
from bench.figures.held import permitted
from bench.figures.measurement import Measurement
from bench.load_client import Client
from bench.models import FOREST, QUADRATIC, model_of, write_pickles
from bench.report import Results
from bench.running import Runner, run
from bench.scale import TINY, Scale
from bench.systems import mlserver
from bench.systems.base import System, Unsupported
from tests.support.service.environment import REPOSITORY, clean_environment


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


def test_a_peer_that_is_not_installed_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mlserver, "ENVIRONMENT", tmp_path / "nothing")
    results = Results({})
    assert run(["submit"], ["mlserver"], TINY, results)
    assert results.samples == []
    assert results.notes == ["Left out, mlserver: it is not installed in nothing (`make mlserver`)."]


def test_a_peer_that_does_not_start_is_noted_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mlserver, "ENVIRONMENT", tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mlserver").symlink_to("/bin/false")
    (tmp_path / ".installed").touch()
    results = Results({})
    assert run(["submit"], ["mlserver"], TINY, results)
    assert [each[:44] for each in results.notes] == ["**Failed to start**, mlserver: RuntimeError:"]


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
    assert "| latency, one client that waits, p50, ms | forest |" in done.stdout
    measured = {(each["key"], each["model"]) for each in json.loads(output.read_text())["summary"] if each["ratio"]}
    assert measured >= {
        ("drain", "forest"),
        ("drain", "quadratic"),
        ("latency_p95", "forest"),
        ("latency_p50", "quadratic"),
    }
    assert processes_that_name(tmp_path) == []


@pytest.mark.slow
def test_a_tiny_run_holds_requests_and_streams_and_polls_jobs(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    done = bench("--tiny", "--only", "held,polled", "--systems", "queuecast,floor", "--output", str(output))
    assert done.returncode == 0, done.stdout + done.stderr
    found = {each["key"]: each["systems"] for each in json.loads(output.read_text())["summary"]}
    assert found["held_waits"]["queuecast"]["median"] == TINY.held_waits
    assert found["held_streams"]["queuecast"]["median"] == TINY.held_streams
    assert {"held_submit", "held_wait_kib", "held_stream_kib", "held_answer_s"} <= set(found)
    assert {"queuecast", "floor"} <= set(found["closed_polled"])
    assert {"queuecast", "floor"} <= set(found["steady_polled_p50"])


@pytest.mark.slow
@pytest.mark.skipif(not mlserver.is_installed(), reason="`make mlserver` has not been run")
def test_the_peer_predicts_what_the_models_predict(tmp_path: Path) -> None:
    with mlserver.MLServer(tmp_path / "mlserver", write_pickles(tmp_path / "models")) as system:
        for name in (QUADRATIC, FOREST):
            each = model_of(name)
            expected = each.model(each.row) if name == QUADRATIC else int(each.model.predict([each.row])[0])
            for rows in (None, 3):
                status, answer = asyncio.run(asked(system.port, system.wait_request(name, rows)))
                assert status == 200, answer
                assert json.loads(answer)["outputs"][0]["data"] == [expected] * (rows or 1)
        roles = {role.split()[0] for role in system.processes()}
    assert roles == {"api", "host"}


async def asked(port: int, encoded: bytes) -> tuple[int, bytes]:
    client = Client(port)
    await client.connect()
    try:
        return await client.ask(encoded)
    finally:
        client.close()


@pytest.mark.parametrize(
    ("files", "held"), [(1_000_000, (10_000, 5_000)), (16_000, (10_000, 5_000)), (4_000, (2_000, 1_000)), (10, (0, 0))]
)
def test_so_many_are_held_as_there_may_be_open_files(files: int, held: tuple[int, int]) -> None:
    assert permitted(10_000, 5_000, files) == held


def processes_that_name(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder) in (entry.parent / "environ").read_text(errors="replace"):
                found.append(entry.read_text())
        except OSError:
            continue  # ended just now, or somebody else's
    return found
