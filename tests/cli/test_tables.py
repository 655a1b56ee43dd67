"""The tables of `queuecast`, as a program behind a pipe gets them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from rich.cells import cell_len

from api.cli.output import Output
from api.cli.remote.deployments.stats import sparkline
from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService

JOB_ID = "297cad22-6034-4250-95b2-57def3f7ebab"
REASON = "Given up after 3 lost attempts, the last one: the model host exited with status 3."


@pytest.mark.parametrize("columns", ["40", None])
def test_a_row_is_one_line_in_a_pipe_however_narrow_the_terminal_was(
    service: FakeService, command: Command, monkeypatch: pytest.MonkeyPatch, columns: str | None
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    times = {"submitted_at": "2026-11-24T10:00:00+00:00", "finished_at": "2026-11-24T10:00:02+00:00"}
    job = {"job_id": JOB_ID, "endpoint_name": "prod", "status": "failed", "error": {"message": REASON}, **times}
    service.on("GET", "/jobs", {"jobs": [job]})
    result = command("jobs", "list")
    assert result.exit_code == 0, result.output
    [line] = [line for line in result.stdout.splitlines() if JOB_ID in line]
    assert line.split()[:3] == [JOB_ID, "prod", "failed"]
    assert REASON in line


def test_what_models_raise_neither_steers_the_terminal_nor_makes_rows(service: FakeService, command: Command) -> None:
    times = {"submitted_at": "2026-11-24T10:00:00+00:00", "finished_at": "2026-11-24T10:00:02+00:00"}
    message = f"no\x1b[2J\x9b31m\n{JOB_ID}  prod  succeeded"
    job = {"job_id": JOB_ID, "endpoint_name": "prod", "status": "failed", "error": {"message": message}, **times}
    more = {"attempts": 1, "outcome": None, "queue": None}
    service.on("GET", "/jobs", {"jobs": [job]})
    service.on("GET", f"/jobs/{JOB_ID}", {**job, **more})
    for arguments in (("jobs", "list"), ("jobs", "show", JOB_ID), ("jobs", "list", "--json")):
        lines = command(*arguments).stdout.split("\n")
        assert all(line.isprintable() for line in lines)
        assert sum(JOB_ID in line for line in lines) == (1 if "list" in arguments else 2)


def test_models_are_listed_with_their_latest_version(service: FakeService, command: Command) -> None:
    model = {
        "name": "iris",
        "latest_version": "12",
        "version_count": 11,
        "created_at": "2026-11-24T10:00:00.123456+00:00",
        "aliases": {"champion": "11"},
        "tags": {"owner": "risk"},
    }
    service.on("GET", "/models", {"models": [model]})
    header, row = command("models", "list").stdout.splitlines()
    assert header.split() == ["MODEL", "LATEST", "VERSIONS", "REGISTERED", "ALIASES", "TAGS"]
    assert row.split()[:3] == ["iris", "12", "11"]
    assert row.split()[-2:] == ["champion=11", "owner=risk"]


@pytest.mark.parametrize("arguments", [("deployments",), ("deployments", "prod")])
def test_no_line_in_a_pipe_ends_with_blanks(service: FakeService, command: Command, arguments: tuple[str, ...]) -> None:
    view = {"endpoint_name": "prod", "model_name": "iris", "version": "1", "status": "active", "workers": []}
    long = {"settings": {"max_batch_size": 64}, "request_count": 1, "queue_depth": 0, "avg_latency_ms": 6.0}
    service.on("GET", "/deployments", {"deployments": [{**view, **long}]})
    service.on("GET", "/deployments/prod", {**view, **long})
    lines = command(*arguments).stdout.splitlines()
    assert len(lines) > 1
    assert lines == [line.rstrip() for line in lines]


@pytest.mark.parametrize(("columns", "lines"), [(24, 3), (23, 4)])
def test_on_a_terminal_a_table_is_coloured_and_folded_only_if_it_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int, lines: int
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = [("wide 語語語", "active", None), ("b", "failed", 1.0)]
    Output(as_json=False).table(["ENDPOINT", "STATUS", "P95"], rows, "")
    printed = capsys.readouterr().out
    assert "\x1b[32mactive\x1b[0m" in printed
    plain = re.sub(r"\x1b\[\d+m", "", printed).splitlines()
    assert len(plain) == lines
    assert all(cell_len(line) <= columns for line in plain)


def figures(**more: Any) -> dict[str, Any]:
    times = dict.fromkeys(f"{name}_{q}_ms" for name in ("total", "queued", "predict") for q in ("p50", "p95"))
    return {"jobs": 0, "succeeded": 0, "failed": 0, "withdrawn": 0, **times, "queue_depth": None, **more}


def test_an_endpoint_is_shown_with_its_hosts_as_a_table_in_mb(service: FakeService, command: Command) -> None:
    worker = {"worker": "w@a", "version": "3", "state": "ready", "hosts": 2, "hosts_wanted": 2, "pids": [41, 42]}
    broken = {"worker": "w@b", "version": "3", "state": "failed", "hosts": 0, "hosts_wanted": 2, "pids": []}
    workers = [
        {**worker, "memory_bytes": 103_500_000, "load_ms": 812.25, "batch_p95_ms": None, "error": None},
        {**broken, "memory_bytes": 0, "load_ms": None, "batch_p95_ms": None, "error": "no module named pandas"},
    ]
    view = {
        "endpoint_name": "prod",
        "status": "degraded",
        "workers": workers,
        "settings": {"hosts": 2, "timeout_s": None},
    }
    service.on("GET", "/deployments/prod", view)
    result = command("deployments", "prod")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["settings", "hosts=2"] in lines
    assert ["w@a", "3", "ready", "2", "of", "2", "41", "42", "103.5", "812.2", "-"] in lines
    assert ["w@b", "3", "failed", "0", "of", "2", "-", "0.0", "-", "-"] in lines
    assert "w@b: no module named pandas" in result.stderr
    assert not {"{", "["} & set(result.stdout)
    assert json.loads(command("deployments", "prod", "--json").stdout) == view


def test_stats_are_charts_and_the_newest_steps_that_have_jobs(service: FakeService, command: Command) -> None:
    at = [f"2026-11-24T10:0{minute}:00+00:00" for minute in range(4)]
    buckets = [
        figures(at=at[0]),
        figures(at=at[1], jobs=4, succeeded=2, failed=2, total_p95_ms=40.0, queue_depth=0),
        figures(at=at[2], jobs=8, succeeded=8, total_p95_ms=20.0, queue_depth=7),
        figures(at=at[3], queue_depth=0),
    ]
    answer = {
        "endpoint_name": "prod",
        "since_s": 240,
        "step_s": 60,
        "summary": figures(jobs=12, failed=2, queue_depth=7),
        "buckets": buckets,
    }
    service.on("GET", "/deployments/prod/stats", answer)
    result = command("stats", "prod", "--since", "4m")
    assert service.received[-1].query == {"since": "4m"}
    lines = result.stdout.splitlines()
    assert next(line for line in lines if line.startswith("jobs")).split() == ["jobs", "12", "▄█", "8"]
    assert next(line for line in lines if line.startswith("total")).split() == [
        "total",
        "p95",
        "ms",
        "-",
        "·█▄·",
        "40.0",
    ]
    assert next(line for line in lines if line.startswith("queue depth")).split()[2:] == ["7", "·", "█", "7"]
    shown = [line.split()[1:] for line in lines if line.startswith("2026-11-24")]
    assert [each[1:4] for each in shown] == [["4", "2", "0"], ["8", "0", "0"]]
    assert json.loads(command("stats", "prod", "--json").stdout) == answer


def test_a_small_value_beside_a_large_one_is_still_seen() -> None:
    assert sparkline([0, 1, 1_000, None]) == " ▁█·"
    assert sparkline([]) == ""


def test_stats_fail_over_a_limit_with_exit_code_1(service: FakeService, command: Command) -> None:
    summary = figures(jobs=10, succeeded=7, failed=1, withdrawn=2, total_p95_ms=480.0)
    answer = {"endpoint_name": "prod", "since_s": 600, "step_s": 60, "summary": summary, "buckets": []}
    service.on("GET", "/deployments/prod/stats", answer)
    assert command("stats", "prod", "--fail-over", "total_p95_ms=480", "--fail-over", "queue_depth=1").exit_code == 0
    over = command("stats", "prod", "--json", "--fail-over", "failed_share=0.1", "--fail-over", "total_p95_ms=500")
    assert over.exit_code == 1
    assert json.loads(over.stdout) == answer
    error = json.loads(over.stderr)
    assert (error["code"], error["over"]) == ("limit_exceeded", {"failed_share": 0.125})
    for wrong in ("speed=1", "failed", "failed=many"):
        assert command("stats", "prod", "--fail-over", wrong).exit_code == 2


def test_status_fails_on_what_it_is_asked_to(service: FakeService, command: Command) -> None:
    service.on("GET", "/health/ready", {"status": "ready", "parts": {}})
    views = [{"endpoint_name": "good", "status": "active"}, {"endpoint_name": "bad", "status": "degraded"}]
    more = {"model_name": "iris", "version": "1"}
    service.on("GET", "/deployments", {"deployments": [{**view, **more} for view in views]})
    assert command("status").exit_code == 0
    assert command("status", "--fail-on", "failed").exit_code == 0
    bad = command("status", "--fail-on", "failed, degraded")
    assert (bad.exit_code, "bad is degraded." in bad.stderr) == (1, True)
    assert command("status", "--fail-on", "broken").exit_code == 2
