"""`queuecast predict --bulk`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api.cli.remote.deployments import waiting
from api.cli.remote.jobs import bulk
from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService

PATH = "/predict/prod/bulk"


def accepted(service: FakeService, *requests: list[str]) -> None:
    service.on("POST", PATH, *[{"job_ids": each, "count": len(each)} for each in requests], status=202)


LOOKUP = "/jobs/lookup"


def job(job_id: str, status: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {"job_id": job_id, "status": status, "outcome": None, "error": None, **more}


def looked_up(service: FakeService, *jobs: dict[str, Any]) -> None:
    service.on("POST", LOOKUP, {"jobs": jobs})


def sent(service: FakeService) -> list[list[Any]]:
    return [[json.loads(line) for line in each.body.splitlines()] for each in service.received if each.path == PATH]


@pytest.mark.parametrize("text", ["[[1], [2]]", "[1]\n\n[2]\n", " [[1],\n [2]]"])
def test_ids_are_printed_in_order_for_an_array_and_for_lines(
    service: FakeService, command: Command, tmp_path: Path, text: str
) -> None:
    accepted(service, ["a", "b"])
    rows = tmp_path / "rows"
    rows.write_text(text)
    assert command("predict", "--bulk", "prod", f"@{rows}", "--no-wait").stdout == "a\nb\n"
    assert (
        command("predict", "--bulk", "prod", "-", "--no-wait", "--json", stdin=text).stdout
        == '{"job_ids": ["a", "b"]}\n'
    )
    assert sent(service) == [[{"input": [1]}, {"input": [2]}]] * 2


def test_what_unicode_calls_a_line_end_may_stand_inside_a_string(
    service: FakeService, command: Command, tmp_path: Path
) -> None:
    texts = ["a\u2028b", "c\u2029d", "e\x85f"]
    rows = tmp_path / "rows"
    rows.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(f'"{text}"' for text in texts).encode())
    accepted(service, ["a", "b", "c"])
    for word in (f"@{rows}", "-"):
        command("predict", "--bulk", "prod", word, "--no-wait", stdin=rows.read_bytes())
    assert sent(service) == [[{"input": text} for text in texts]] * 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[1]\n[2]".encode("utf-16"), "is not UTF-8: it looks like UTF-16"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8 (byte 1 is 0x89)"),
        (b"1\n2\n\xff", "Line 3: "),
        (b"1\nNaN", "Line 2: "),
        (b"", "no inputs"),
    ],
)
@pytest.mark.parametrize("words", [["predict", "--bulk", "prod"], ["predict", "prod"], ["predict", "--model", "m"]])
def test_a_file_that_is_no_json_is_refused_in_words(
    service: FakeService, command: Command, tmp_path: Path, content: bytes, told: str, words: list[str]
) -> None:
    rows = tmp_path / "rows"
    rows.write_bytes(content)
    for result in (command(*words, f"@{rows}"), command(*words, "-", stdin=content)):
        assert result.exit_code == 2
        assert "--bulk" not in words or told in result.stderr.replace("\n", " ")
    assert service.received == []


@pytest.mark.parametrize(("made", "word"), [(True, "rows"), (False, "rows.ndjson")])
def test_a_file_name_without_its_sign_is_recognised(
    service: FakeService, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bool, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if made:
        (tmp_path / word).write_text("1")
    for option in ([], ["--bulk"]):
        result = command("predict", *option, "prod", word)
        assert (result.exit_code, f"write @{word}" in result.stderr) == (2, True), result.stderr
    assert service.received == []


def test_many_inputs_are_several_requests(
    service: FakeService, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "_JOBS_A_REQUEST", 2)
    accepted(service, ["a", "b"], ["c"])
    result = command("predict", "--bulk", "prod", "[1, 2, 3]", "--no-wait", "--expires-in", "5")
    assert result.stdout == "a\nb\nc\n"
    one, two, three = ({"input": number, "expires_in_s": 5.0} for number in (1, 2, 3))
    assert sent(service) == [[one, two], [three]]


def test_outcomes_are_printed_in_order_and_failures_are_told(service: FakeService, command: Command) -> None:
    accepted(service, ["a", "b", "c"])
    looked_up(
        service,
        job("a", outcome={"prediction": {"label": "x"}}),
        job("b", "failed", error={"message": "too big"}),
        job("c", outcome={"prediction": 3}),
    )
    result = command("predict", "--bulk", "prod", "[1, 2, 3]")
    assert result.stdout == '{"label": "x"}\nnull\n3\n'
    assert result.exit_code == 1
    assert "Input 2: job b is failed: too big" in result.stderr
    assert "1 of 3 jobs have no outcome" in result.stderr
    documents = json.loads(command("predict", "--bulk", "prod", "[1, 2, 3]", "--json").stdout)["jobs"]
    assert [each["job_id"] for each in documents] == ["a", "b", "c"]
    looks = [each for each in service.received if each.path != PATH]
    assert [(each.path, each.json) for each in looks] == [(LOOKUP, {"job_ids": ["a", "b", "c"]})] * 2


def test_jobs_that_have_not_ended_or_were_left_out_are_looked_up_again(
    service: FakeService, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_JOBS_A_LOOK", 2)
    accepted(service, ["a", "b", "c"])
    one, two, three = (job(name, outcome={"prediction": name}) for name in "abc")
    looked_up(service, one, job("b", "running"))
    looked_up(service, job("b", "running"), three)
    service.on("GET", "/jobs/b", two)
    looked_up(service, three)
    assert command("predict", "--bulk", "prod", "[1, 2, 3]").stdout == '"a"\n"b"\n"c"\n'
    assert [each.json["job_ids"] for each in service.received if each.path == LOOKUP] == [["a", "b"], ["b", "c"], ["c"]]


def test_a_service_that_is_away_for_a_moment_gets_the_same_request_again(
    service: FakeService, command: Command
) -> None:
    service.on("POST", PATH, {"code": "queue_full", "detail": "full", "retry_after_s": 0.01}, status=429)
    accepted(service, ["a"])
    assert command("predict", "--bulk", "prod", "[1]", "--no-wait").stdout == "a\n"
    assert len(sent(service)) == 2


def test_the_rate_of_a_key_is_waited_out_while_outcomes_are_fetched(service: FakeService, command: Command) -> None:
    accepted(service, ["a"])
    slowly = {"code": "rate_limited", "detail": "slowly", "retry_after_s": 0.01}
    service.on("POST", LOOKUP, slowly, status=429)
    service.on("GET", "/jobs/a", slowly, status=429)
    service.on("GET", "/jobs/a", job("a", outcome={"prediction": 1}))
    result = command("predict", "--bulk", "prod", "[1]")
    assert (result.exit_code, result.stdout) == (0, "1\n"), result.stderr


def test_what_was_submitted_before_an_error_is_told(
    service: FakeService, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "_JOBS_A_REQUEST", 1)
    accepted(service, ["a"])
    service.on("POST", PATH, {"code": "input_invalid", "detail": "line 1: input must be a number"}, status=422)
    result = command("predict", "--bulk", "prod", "[1, 2]", "--no-wait")
    assert (result.exit_code, result.stdout) == (1, "a\n")
    assert "1 of 2 jobs were submitted" in result.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["prod", "1\noops"], "is not JSON"),
        (["prod", "[]"], "no inputs"),
        (["prod", "@nowhere"], "nowhere: No such file"),
        (["[1]"], "takes one endpoint"),
        (["--model", "m", "prod", "[1]"], "takes one endpoint"),
        (["--many", "prod", "[1]"], "takes one endpoint"),
    ],
)
def test_wrong_words_are_exit_code_2(service: FakeService, command: Command, words: list[str], told: str) -> None:
    result = command("predict", "--bulk", *words)
    assert (result.exit_code, told in result.stderr) == (2, True), result.stderr
    assert service.received == []


def test_a_priority_goes_with_each_input(service: FakeService, command: Command) -> None:
    accepted(service, ["a", "b"])
    command("predict", "--bulk", "prod", "-", "--no-wait", "--priority", "low", stdin="[1, 2]")
    assert sent(service) == [[{"input": 1, "priority": "low"}, {"input": 2, "priority": "low"}]]
