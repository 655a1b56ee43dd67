"""The soak's audit finds what is wrong, and its report gets into the page about reliability."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.machine import about
from bench.soak import report, traffic
from bench.soak.audit import Auditor
from bench.soak.traffic import Accepted, Traffic
from tests.support.models import Resized

SMALL, SLOW, LARGE, POISON = traffic.streams(rate_per_s=40)


class Service:
    """Answers look-ups with the jobs that it was given; all others are unknown."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        #: How many look-ups are still answered with 503.
        self.refusals = 0

    def ended(self, job_id: str, prediction: Any, status: str = "succeeded") -> None:
        outcome = {"prediction": prediction, "timing": {"total_ms": 1_500}}
        self.jobs[job_id] = {"job_id": job_id, "status": status, "outcome": outcome, "error": None}

    def client(self) -> httpx.Client:
        return httpx.Client(base_url="http://service", transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.refusals:
            self.refusals -= 1
            return httpx.Response(503)
        asked = json.loads(request.content)["job_ids"]
        return httpx.Response(
            200,
            json={
                "jobs": [self.jobs[each] for each in asked if each in self.jobs],
                "unknown_job_ids": [each for each in asked if each not in self.jobs],
                "left_job_ids": [],
            },
        )


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def auditor(service: Service, monkeypatch: pytest.MonkeyPatch) -> Auditor:
    monkeypatch.setattr("bench.soak.audit._ENDS_LIMIT_S", 0.1)
    monkeypatch.setattr("bench.soak.audit._PAUSE_S", 0.01)
    accepted = [Accepted(f"job-{number}", SMALL, number) for number in range(2)]
    found = Auditor("http://service", [Traffic("http://service", SMALL, accepted)])
    monkeypatch.setattr(found, "_api", service.client)
    for number in range(2):
        service.ended(f"job-{number}", ["", f"row-{number}"])
    return found


def test_nothing_is_wrong_where_each_job_has_its_right_end(auditor: Auditor) -> None:
    auditor.finish()
    assert auditor.problems == []
    assert {told.again for told in auditor.told.values()} == {True}
    assert auditor.slowest_s == {traffic.SMALL: 1.5}


def test_a_refused_look_up_is_made_again(auditor: Auditor, service: Service) -> None:
    service.refusals = 2
    auditor.finish()
    assert (auditor.problems, len(auditor.told)) == ([], 2)


def test_the_outcome_of_another_input_is_found(auditor: Auditor, service: Service) -> None:
    service.ended("job-1", ["", "row-0"])
    auditor.finish()
    assert [each.partition(":")[0] for each in auditor.problems] == ["not its right end"]


def test_an_end_that_changes_after_it_was_told_is_found(auditor: Auditor, service: Service) -> None:
    with service.client() as api:
        auditor._read(api, auditor.jobs())
    service.ended("job-1", ["", "row-1"], status="failed")
    auditor.finish()
    assert [each.partition(":")[0] for each in auditor.problems] == ["its reported end has changed"]


@pytest.mark.parametrize("before", [False, True], ids=["never seen", "seen before"])
def test_a_job_that_is_lost_is_found(auditor: Auditor, service: Service, *, before: bool) -> None:
    if before:
        with service.client() as api:
            auditor._read(api, auditor.jobs())
        del service.jobs["job-1"]
        auditor.finish()
    else:
        del service.jobs["job-1"]
        with pytest.raises(AssertionError, match=r"every job has ended .* for 1 jobs, such as job job-1"):
            auditor.finish()
    assert auditor.problems[0].startswith("lost: job job-1 of soak")


def test_each_kind_of_job_has_one_right_end() -> None:
    for number in range(3):
        row = LARGE.row(number)
        outcome = {"prediction": Resized()(row)}
        assert LARGE.is_right(number, {"status": "succeeded", "outcome": outcome})
        assert max(len(row["padding"]), row["answer_length"]) >= 1_000_000
        assert not LARGE.is_right(number + 1, {"status": "succeeded", "outcome": outcome})
    assert POISON.is_right(0, {"status": "failed", "error": {"code": "poison_job"}})
    assert not SLOW.is_right(0, {"status": "failed", "error": {"code": "poison_job"}})


def found(**more: Any) -> dict[str, Any]:
    jobs = {"soak": {"accepted": 1_000, "slowest_s": 2.5}, "poison": {"accepted": 2, "slowest_s": None}}
    return {
        **about("python -m bench.soak --minutes 2"),
        "minutes": 2.0,
        "seed": 7,
        "rate_per_s": 40.0,
        "lease_s": 5.0,
        "jobs": jobs,
        "junk": 12,
        "answers_to_submits": {"202": 1_002, "503": 3},
        "executed_more_than_once": 1,
        "read_twice": 1_002,
        "workers_ended_of_shortage": 1,
        "faults": report.recoveries({"kill -9 Redis": [1.0, 3.0, 2.0]}),
        "problems": [],
        **more,
    }


def test_the_report_stands_between_the_marks_of_the_page(tmp_path: Path) -> None:
    page, document = tmp_path / "page.md", tmp_path / "soak.json"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write(found(), page, document)
    text = page.read_text()
    assert "| kill -9 Redis | 3 | 2.0 s | 3.0 s |" in text
    assert "1,002 jobs were accepted while 3 faults of 1 kinds happened. Each has its one right end" in text
    assert "`python -m bench.soak --minutes 2`, commit " in text
    assert text.startswith("before\n")
    assert "old" not in text
    assert text.endswith("after\n")
    assert json.loads(document.read_text())["seed"] == 7
    assert report.PAGE.read_text().count(report.BEGIN) == 1


def test_what_the_audit_has_found_stands_in_the_report() -> None:
    text = report.markdown(found(problems=["lost: job x of soak, number 5"]))
    assert "- lost: job x of soak, number 5" in text
    assert "one right end" not in text
