"""The tables of `queuecast`, as a program behind a pipe gets them."""

from __future__ import annotations

import pytest

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
    }
    service.on("GET", "/models", {"models": [model]})
    header, row = command("models", "list").stdout.splitlines()
    assert header.split() == ["MODEL", "LATEST", "VERSIONS", "REGISTERED"]
    assert row.split()[:3] == ["iris", "12", "11"]


@pytest.mark.parametrize("arguments", [("deployments",), ("deployments", "prod")])
def test_no_line_in_a_pipe_ends_with_blanks(service: FakeService, command: Command, arguments: tuple[str, ...]) -> None:
    view = {"endpoint_name": "prod", "model_name": "iris", "version": "1", "status": "active", "workers": []}
    long = {"settings": {"max_batch_size": 64}, "request_count": 1, "queue_depth": 0, "avg_latency_ms": 6.0}
    service.on("GET", "/deployments", {"deployments": [{**view, **long}]})
    service.on("GET", "/deployments/prod", {**view, **long})
    lines = command(*arguments).stdout.splitlines()
    assert len(lines) > 1
    assert lines == [line.rstrip() for line in lines]
