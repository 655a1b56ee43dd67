"""`queuecast predict` and `queuecast jobs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api.cli.output import local_time
from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService

OUTCOME = {
    "prediction": {"label": "benign"}, "endpoint_name": "prod", "model_name": "m", "version": "2",
    "worker": "worker@host", "batch_size": 3, "timing": {"queued_ms": 1, "predict_ms": 2, "total_ms": 3}, "attempts": 1,
}  # fmt: skip


def job(status: str, **more: Any) -> dict[str, Any]:
    return {
        "job_id": "j1", "endpoint_name": "prod", "status": status, "submitted_at": "2026-11-24T10:00:00+00:00",
        "started_at": None, "finished_at": None, "attempts": 1, "outcome": None, "error": None, **more,
    }  # fmt: skip


def submitted(service: FakeService, *states: dict[str, Any], path: str = "/predict/prod") -> None:
    service.on("POST", path, {"job_id": "j1", "status": "queued", "url": "/jobs/j1"}, status=202)
    service.on("GET", "/jobs/j1", *states)


def test_the_prediction_alone_is_on_stdout(service: FakeService, command: Command) -> None:
    submitted(service, job("running"), job("succeeded", outcome=OUTCOME))
    result = command("predict", "prod", "[0.5, 0.8, 0.2]")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"label": "benign"}
    assert "version 2 on worker@host, batch of 3" in result.stderr
    assert service.received[0].json == {"input": [0.5, 0.8, 0.2]}


def test_json_shows_the_whole_outcome_and_the_job(service: FakeService, command: Command) -> None:
    submitted(service, job("succeeded", outcome=OUTCOME))
    result = command("predict", "prod", "1", "--json")
    assert json.loads(result.stdout) == {"job_id": "j1", **OUTCOME}
    assert result.stderr == ""


def test_a_negative_number_is_an_input(service: FakeService, command: Command) -> None:
    submitted(service, job("succeeded", outcome=OUTCOME), path="/predict")
    assert command("predict", "--model", "quadratic", "-2.5").exit_code == 0
    assert service.received[0].json == {"model_name": "quadratic", "input": -2.5}


def test_many_inputs_come_from_a_file_or_stdin(service: FakeService, command: Command, tmp_path: Path) -> None:
    outcome = {**OUTCOME, "predictions": [1, 2]}
    submitted(service, job("succeeded", outcome=outcome))
    rows = tmp_path / "rows.json"
    rows.write_text("[[1], [2]]")
    from_file = command("predict", "--many", "prod", f"@{rows}")
    from_stdin = command("predict", "--many", "prod", "-", stdin="[[1], [2]]")
    assert json.loads(from_file.stdout) == json.loads(from_stdin.stdout) == [1, 2]
    assert service.received[0].json == service.received[2].json == {"inputs": [[1], [2]]}


def test_then_makes_a_pipeline(service: FakeService, command: Command) -> None:
    submitted(service)
    assert command("predict", "prod", "1", "--then", "more", "--then", "most", "--no-wait").exit_code == 0
    assert service.received[0].json == {"input": 1, "then": ["more", "most"]}
    for words in (["--bulk", "prod", "[1]"], ["prod", "--csv", "rows.csv"]):
        result = command("predict", *words, "--then", "more")
        assert result.exit_code == 2
        assert "--then is for one job" in result.stderr


def test_no_wait_prints_the_job_id_alone(service: FakeService, command: Command) -> None:
    submitted(service)
    assert command("predict", "prod", "1", "--no-wait").stdout == "j1\n"


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired"])
def test_an_unsuccessful_job_is_exit_code_1(service: FakeService, command: Command, status: str) -> None:
    submitted(service, job(status, error={"code": "prediction_failed", "type": "ValueError", "message": "too big"}))
    result = command("predict", "prod", "1")
    assert result.exit_code == 1
    assert f"Job j1 is {status}: too big" in result.stderr
    assert "code=prediction_failed" in result.stderr


def test_a_job_that_does_not_end_is_exit_code_4_and_its_id_is_told(service: FakeService, command: Command) -> None:
    submitted(service, job("running"))
    result = command("predict", "prod", "1", "--timeout", "0.05")
    assert result.exit_code == 4
    assert "queuecast jobs show j1" in result.stderr


def place(position: int, wait_s: float | None = None) -> dict[str, Any]:
    return {"position": position, "estimated_wait_s": wait_s, "reason": None if wait_s else "no_ready_worker"}


START, END = ({"started_at": "2026-11-24T10:00:03+00:00"}, {"finished_at": "2026-11-24T10:00:04.5+00:00"})


def test_a_watched_job_shows_each_change(service: FakeService, command: Command) -> None:
    states = [job("queued", queue=place(12)), job("queued", queue=place(12, 3.0)), job("queued", queue=place(4, 1.0))]
    states += [job("running", **START)] * 2 + [job("succeeded", outcome=OUTCOME, **START, **END)]
    service.on("GET", "/jobs/j1", *states)
    result = command("jobs", "watch", "j1")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line[19:] for line in lines] == [
        "  queued     12 ahead, no worker is ready", "  queued     4 ahead, about 1 s", "  running",
        "  succeeded  4.500 s after its submit",
    ]  # fmt: skip
    assert lines[3].startswith(str(local_time("2026-11-24T10:00:04.5+00:00")))
    assert [float(each.query["wait"]) for each in service.received] == [0.5, *[1.0] * 5]


def test_a_watched_job_has_run_also_if_nobody_looked_then(service: FakeService, command: Command) -> None:
    service.on("GET", "/jobs/j1", job("queued", queue=None), job("succeeded", **{**START, **END, "attempts": 2}))
    lines = command("jobs", "watch", "j1").stdout.splitlines()
    assert [line[21:].rstrip() for line in lines] == [
        "queued", "running    attempt 2", "succeeded  4.500 s after its submit",
    ]  # fmt: skip


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired"])
def test_a_watched_job_without_success_is_exit_code_1(service: FakeService, command: Command, status: str) -> None:
    error = {"code": "prediction_failed", "type": "ValueError", "message": "too big"}
    service.on("GET", "/jobs/j1", job(status, **{**END, "error": error}))
    result = command("jobs", "watch", "j1")
    assert result.exit_code == 1
    assert status in result.stdout
    assert f"Job j1 is {status}: too big" in result.stderr


def test_a_job_that_is_watched_for_too_short_a_time_is_exit_code_4(service: FakeService, command: Command) -> None:
    service.on("GET", "/jobs/j1", job("queued", queue=place(7, 300.0)))
    result = command("jobs", "watch", "j1", "--timeout", "0.05")
    assert result.exit_code == 4
    assert result.stdout.count("7 ahead, about 5 min") == 1


def test_watched_as_json_each_change_is_a_document(service: FakeService, command: Command) -> None:
    states = [job("queued", queue=place(1, 1.0)), job("running", **START), job("succeeded", **START, **END)]
    service.on("GET", "/jobs/j1", *states)
    assert [json.loads(line) for line in command("jobs", "watch", "j1", "--json").stdout.splitlines()] == states


def test_a_job_that_nobody_knows_can_not_be_watched(service: FakeService, command: Command) -> None:
    assert command("jobs", "watch", "j1").exit_code == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["prod", "[0.5, oops]"], "is not JSON"),
        (["prod", "@nowhere.json"], "nowhere.json: No such file"),
        (["1"], "Name one endpoint"),
        (["--model", "m", "prod", "1"], "Name one endpoint"),
        (["--modle", "m", "1"], "Name one endpoint"),
    ],
)
def test_wrong_words_are_exit_code_2(service: FakeService, command: Command, words: list[str], told: str) -> None:
    result = command("predict", *words)
    assert result.exit_code == 2
    assert told in result.stderr
    assert service.received == []


def test_an_invalid_input_says_which_field(service: FakeService, command: Command) -> None:
    problem = {"code": "input_invalid", "detail": "input[1]: expected a finite number, received a string: 'x'"}
    service.on("POST", "/predict/prod", problem, status=422)
    result = command("predict", "prod", '[1, "x"]')
    assert result.exit_code == 1
    assert "input[1]: expected a finite number" in result.stderr
    assert json.loads(command("predict", "prod", '[1, "x"]', "--json").stderr) == problem


def test_jobs_are_listed_as_a_table_with_filters(service: FakeService, command: Command) -> None:
    failed = job("failed", finished_at="2026-11-24T10:00:01.500000+00:00", error={"message": "too big"})
    service.on("GET", "/jobs", {"jobs": [failed]})
    result = command("jobs", "list", "--endpoint", "prod", "--status", "failed", "--limit", "5")
    header, row = result.stdout.splitlines()
    assert header.split() == ["JOB", "ENDPOINT", "STATUS", "SUBMITTED", "TOOK", "ERROR"]
    assert row.split()[:3] == ["j1", "prod", "failed"]
    assert row.rstrip().endswith("1.500 s  too big")
    assert service.received[0].query == {"endpoint_name": "prod", "status": "failed", "limit": "5"}


def test_a_shown_job_that_failed_is_shown_and_is_exit_code_1(service: FakeService, command: Command) -> None:
    service.on("GET", "/jobs/j1", job("failed", error={"message": "too big"}))
    result = command("jobs", "show", "j1")
    assert result.exit_code == 1
    assert "attempts" in result.stdout
    assert "too big" in result.stderr


def test_a_job_is_cancelled(service: FakeService, command: Command) -> None:
    service.on("DELETE", "/jobs/j1", job("cancelled"))
    assert command("jobs", "cancel", "j1").stdout == "Job j1 is cancelled.\n"


def test_a_priority_goes_with_the_input(service: FakeService, command: Command) -> None:
    submitted(service, job("succeeded", outcome=OUTCOME))
    assert command("predict", "prod", "1", "--priority", "high").exit_code == 0
    assert service.received[0].json == {"input": 1, "priority": "high"}
    assert command("predict", "prod", "1", "--priority", "urgent").exit_code == 2


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        ({"position": 12, "estimated_wait_s": 2.6, "reason": None}, "12 ahead, about 3 s"),
        ({"position": 0, "estimated_wait_s": 0.0, "reason": None}, "0 ahead, less than 1 s"),
        ({"position": 9, "estimated_wait_s": 600, "reason": None}, "9 ahead, about 10 min"),
        ({"position": 3, "estimated_wait_s": None, "reason": "no_ready_worker"}, "3 ahead, no worker is ready"),
        ({"position": 3, "estimated_wait_s": None, "reason": "not_measured"}, "3 ahead"),
    ],
)
def test_a_queued_job_is_shown_with_its_place(
    service: FakeService, command: Command, queue: dict[str, Any], said: str
) -> None:
    accepted = {"job_id": "j1", "status": "queued", "url": "/jobs/j1", "queue": queue}
    service.on("POST", "/predict/prod", accepted, status=202)
    service.on("GET", "/jobs/j1", job("queued", queue=queue, priority="low"))
    result = command("predict", "prod", "1", "--no-wait")
    assert (result.stdout, result.stderr.partition(". Look")[0]) == ("j1\n", said)
    facts = dict(line.split(maxsplit=1) for line in command("jobs", "show", "j1").stdout.splitlines())
    assert (facts["queue"], facts["priority"]) == (said, "low")
