"""`queuecast jobs show`, `retry` and `cancel --queued`, against a stand-in for the service."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService

ACCEPTED = {"job_id": "j2", "status": "queued"}


def counts(matched: int, cancelled: int, cursor: int | None = None) -> dict[str, Any]:
    return {"matched_count": matched, "cancelled_count": cancelled, "cursor": cursor}


def test_a_failed_job_is_shown_with_its_traceback_on_lines_of_its_own(service: FakeService, command: Command) -> None:
    error = {"code": "prediction_failed", "type": "PredictionFailed", "message": "ValueError: too red"}
    lines = 'Traceback (most recent call last):\n  File "model.py", line 3, in predict\n\x1b[31mValueError: too red'
    job = {
        "job_id": "j1", "endpoint_name": "prod", "status": "failed", "submitted_at": None, "finished_at": None,
        "attempts": 1, "outcome": None, "error": {**error, "traceback": lines},
    }  # fmt: skip
    service.on("GET", "/jobs/j1", job)
    result = command("jobs", "show", "j1")
    assert result.exit_code == 1
    assert '  File "model.py", line 3, in predict\n' in result.stdout
    assert "\x1b" not in result.stdout


def test_a_pipeline_is_shown_with_its_steps(service: FakeService, command: Command) -> None:
    error = {"code": "prediction_failed", "type": "PredictionFailed", "message": "too red"}
    times = {"started_at": "2026-11-24T10:31:05+00:00", "finished_at": "2026-11-24T10:31:06.5+00:00"}
    steps = [
        {"endpoint_name": "embed", "job_id": "j1.1", "status": "succeeded", **times, "outcome": {}, "error": None},
        {"endpoint_name": "classify", "job_id": "j1.2", "status": "failed", **times, "outcome": None, "error": error},
        {"endpoint_name": "rank", "job_id": "j1.3", "status": "skipped", "started_at": None, "finished_at": None},
    ]
    job = {
        "job_id": "j1", "endpoint_name": "embed", "status": "failed", "submitted_at": None, "finished_at": None,
        "attempts": 0, "outcome": None, "error": error, "steps": steps,
    }  # fmt: skip
    service.on("GET", "/jobs/j1", job)
    shown = command("jobs", "show", "j1").stdout
    assert [line.split()[:2] for line in shown.splitlines()[-4:]] == [
        ["ENDPOINT", "STATUS"],
        ["embed", "succeeded"],
        ["classify", "failed"],
        ["rank", "skipped"],
    ]
    assert "1.500 s" in shown
    assert "too red" in shown.splitlines()[-2]


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ([], {}),
        (["--input", "[1, 2]"], {"input": [1, 2]}),
        (["--input", "null"], {"input": None}),
        (["--inputs", "[[1], [2]]", "--endpoint", "other"], {"inputs": [[1], [2]], "endpoint_name": "other"}),
    ],
)
def test_a_failed_job_is_run_again(service: FakeService, command: Command, words: list[str], body: Any) -> None:
    service.on("POST", "/jobs/j1/retry", ACCEPTED, status=202)
    result = command("jobs", "retry", "j1", *words)
    assert (result.exit_code, result.stdout) == (0, "j2\n"), result.output
    assert service.received[-1].json == body


def test_two_inputs_in_place_of_one_are_wrong_usage(service: FakeService, command: Command) -> None:
    assert command("jobs", "retry", "j1", "--input", "1", "--inputs", "[1]").exit_code == 2
    assert service.received == []


def test_a_queue_is_emptied_step_by_step(service: FakeService, command: Command) -> None:
    service.on("POST", "/jobs/cancel", counts(200, 200, 7), counts(30, 29))
    result = command("jobs", "cancel", "--endpoint", "prod", "--queued", "--older-than", "10m", "--yes")
    assert (result.exit_code, result.stdout) == (0, "229 queued jobs of prod are cancelled.\n"), result.output
    first, second = (each.json for each in service.received)
    assert (first["cursor"], second["cursor"]) == (0, 7)
    assert 600 <= first["older_than_s"] <= second["older_than_s"] < 660
    assert (first["endpoint_name"], first["delayed"], first["dry_run"]) == ("prod", False, False)


def test_a_queue_is_emptied_with_a_document_for_programs(service: FakeService, command: Command) -> None:
    service.on("POST", "/jobs/cancel", counts(1, 1))
    result = command("jobs", "cancel", "--endpoint", "prod", "--queued", "--yes", "--json")
    assert result.stdout.replace("\n", "").replace(" ", "") == '{"endpoint_name":"prod","cancelled_count":1}'


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--endpoint", "prod"],
        ["--queued"],
        ["--endpoint", "prod", "--queued"],  # without a terminal there is no question
        ["--endpoint", "prod", "--queued", "--yes", "--force"],
        ["--endpoint", "prod", "--queued", "--yes", "--older-than", "soon"],
        ["j1", "--endpoint", "prod", "--queued"],
    ],
)
def test_what_would_cancel_something_else_is_wrong_usage(
    service: FakeService, command: Command, words: list[str]
) -> None:
    assert command("jobs", "cancel", *words).exit_code == 2
    assert service.received == []
