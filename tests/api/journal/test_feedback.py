"""Feedback on jobs of the journal over HTTP: joined by id, latest wins."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from api.auth import guard
from api.auth.identity import Identity
from api.journal import feedback as feedback_api
from registry.roles import Role
from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker
from workers import keys
from workers.jobs.endings.journal import STREAM_BYTES
from workers.journal import feedback, forgetting, moving, searching
from workers.journal.files import dataset
from workers.journal.files.writer import writing
from workers.journal.forgetting import Which
from workers.judging import sample
from workers.judging.comparison.comparison import Comparison
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair
from workers.platform.redis.client import records_client

AT = 1_795_780_800.0
Keep = Callable[..., None]


@pytest.fixture
def keep(adding: View, redis_url: str) -> Keep:
    """Adds ended jobs to the stream, as the script that ends jobs does; their records are gone."""

    def kept(ids: Sequence[str], owner: str | None = None) -> None:
        lines = []
        for job_id in ids:
            result = {"prediction": 3.0, "model_name": "adder", "version": "1", "worker": "w", "batch_size": 1}
            record = {"status": "SUCCESS", "result": result, "task_id": job_id, "finished_at": AT, "owner": owner}
            lines += [json.dumps({**record, "attempts": 1}), "{}", "[2.0]"]
        shared = json.dumps({"model_name": "adder", "version": "1", "worker": "w"})
        client: Any = records_client()
        client.xadd(keys.JOURNAL, {"endpoint_name": "adding", "answered_by": shared, "jobs": "\n".join(lines)})

    return kept


def moved() -> None:
    with writing() as writer:
        moving.move_all(writer)


def truths() -> dict[str, Any]:
    return {job_id: truth.value for job_id, truth in feedback.truths("adding", AT - 1).items()}


def test_feedback_is_joined_by_id_and_the_latest_wins(client: Client, keep: Keep) -> None:
    keep(["a", "b"])
    for truth in (1.0, 2.0):
        answer = client.post("/jobs/a/feedback", json={"truth": truth})
        assert (answer.status_code, answer.json) == (202, {"job_id": "a", "endpoint_name": "adding"})
    assert truths() == {"a": 2.0}, "from the stream"
    moved()
    assert truths() == {"a": 2.0}, "from files"
    assert client.post("/jobs/a/feedback", json={"truth": 3.0, "weight": 2}).status_code == 202
    assert feedback.truths("adding", AT - 1)["a"] == (3.0, 2.0), "the stream is newer than files"


def test_a_job_is_found_in_files_when_its_record_is_gone(client: Client, keep: Keep) -> None:
    keep(["a"])
    moved()
    assert client.post("/jobs/a/feedback", json={"truth": {"label": "x"}}).status_code == 202
    assert truths() == {"a": {"label": "x"}}


def test_jobs_that_the_journal_does_not_have_are_refused(client: Client, keep: Keep) -> None:
    keep(["a"])
    answer = client.post("/jobs/nothing/feedback", json={"truth": 1})
    assert (answer.status_code, answer.json["code"]) == (404, "job_not_found")
    assert truths() == {}


def test_many_are_given_in_one_call(client: Client, keep: Keep) -> None:
    keep(["a", "b"])
    lines = "\n".join(json.dumps({"job_id": job_id, "truth": job_id}) for job_id in ("a", "nothing", "b"))
    answer = client.post("/feedback", data=lines, content_type="application/x-ndjson")
    assert answer.status_code == 202
    assert answer.json == {"accepted_count": 2, "unknown_count": 1, "unknown_job_ids": ["nothing"]}
    assert truths() == {"a": "a", "b": "b"}
    again = client.post("/feedback", json=[{"job_id": "a", "truth": 1}, {"job_id": "a"}])
    assert again.status_code == 422
    assert "[1].truth" in again.text
    assert truths() == {"a": "a", "b": "b"}, "nothing of a wrong call is stored"


def test_a_full_stream_refuses_feedback_and_loses_none(
    client: Client, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(["a"])
    monkeypatch.setattr(searching, "SEARCHED_STREAM_BYTES", 10**13)
    records_client().hset(keys.JOURNAL_COUNTS, STREAM_BYTES, 10**12)
    answer = client.post("/jobs/a/feedback", json={"truth": 1})
    assert (answer.status_code, answer.json["code"]) == (503, "journal_full")
    assert "Retry-After" in answer.headers
    records_client().hdel(keys.JOURNAL_COUNTS, STREAM_BYTES)
    assert client.post("/jobs/a/feedback", json={"truth": 1}).status_code == 202


def test_a_stream_that_is_too_long_is_not_searched(client: Client, keep: Keep) -> None:
    keep(["a"])
    records_client().hset(keys.JOURNAL_COUNTS, STREAM_BYTES, searching.SEARCHED_STREAM_BYTES + 1)
    answer = client.post("/jobs/a/feedback", json={"truth": 1})
    assert (answer.status_code, answer.json["code"]) == (503, "journal_busy")


def test_searches_of_a_caller_are_limited_and_calls_that_need_none_are_not(
    client: Client, adding: View, worker: StandInWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback_api, "SEARCHES_PER_S", 0.01)
    client.deploy(journal=1)
    monkeypatch.setattr(feedback_api, "_NOTICED_IN_S", 0.0)
    ended = client.submit("adding")
    worker.succeed(ended, "adding", 3)
    assert client.post("/jobs/nothing/feedback", json={"truth": 1}).status_code == 404
    refused = client.post("/jobs/nothing/feedback", json={"truth": 1})
    assert (refused.status_code, refused.json["code"]) == (429, "rate_limited")
    assert int(refused.headers["Retry-After"]) > 1
    for _ in range(3):
        assert client.post(f"/jobs/{ended}/feedback", json={"truth": 1}).status_code == 202


def test_a_client_finds_its_own_jobs_and_others_look_as_if_they_did_not_exist(
    client: Client, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(["mine"], owner="shop")
    keep(["theirs"], owner="bank")
    moved()
    monkeypatch.setattr(guard, "ANONYMOUS", Identity("shop", Role.CLIENT))
    read = list[str]()
    before = dataset.read

    def counted(file: dataset.JournalFile, columns: Any = None) -> Any:
        read.append(file.name)
        return before(file, columns)

    monkeypatch.setattr(dataset, "read", counted)
    answers = [client.post(f"/jobs/{job_id}/feedback", json={"truth": 1}) for job_id in ("theirs", "nothing")]
    assert [(each.status_code, each.json["code"]) for each in answers] == [(404, "job_not_found")] * 2
    assert read == [], "no column of a file is read for either"
    assert client.post("/jobs/mine/feedback", json={"truth": 1}).status_code == 202
    assert len(read) == 1


def test_a_key_for_other_endpoints_finds_nothing(client: Client, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(["mine"], owner="shop")
    monkeypatch.setattr(guard, "ANONYMOUS", Identity("shop", Role.CLIENT, frozenset({"other"})))
    assert client.post("/jobs/mine/feedback", json={"truth": 1}).status_code == 404


def test_what_the_journal_keeps_is_decided_by_the_settings_at_the_end_of_the_job(
    client: Client, adding: View, worker: StandInWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback_api, "_NOTICED_IN_S", 0.0)
    monkeypatch.setattr(feedback_api, "_CLOCKS_S", 0.0)
    early = client.submit("adding")
    worker.succeed(early, "adding", 3)
    client.deploy(journal=1)
    kept = client.submit("adding")
    worker.succeed(kept, "adding", 3)
    assert client.post(f"/jobs/{early}/feedback", json={"truth": 1}).status_code == 404, "it was not kept then"
    client.deploy(journal=0)
    assert client.post(f"/jobs/{kept}/feedback", json={"truth": 1}).status_code == 202, "it was kept then"


def test_a_job_that_ends_while_the_settings_change_is_searched_for(
    client: Client, adding: View, worker: StandInWorker, keep: Keep
) -> None:
    client.deploy(journal=1)
    ended = client.submit("adding")
    worker.succeed(ended, "adding", 3)
    assert client.post(f"/jobs/{ended}/feedback", json={"truth": 1}).status_code == 404
    keep([ended])
    assert client.post(f"/jobs/{ended}/feedback", json={"truth": 1}).status_code == 202


def test_what_is_forgotten_has_no_feedback_any_more(client: Client, keep: Keep) -> None:
    keep(["a", "b"])
    for job_id in ("a", "b"):
        client.post(f"/jobs/{job_id}/feedback", json={"truth": job_id})
    assert forgetting.forget(Which(job_ids=["a"])).jobs == 1
    assert truths() == {"b": "b"}
    assert [each.root for each in dataset.files("adding", dataset.FEEDBACK)] == ["feedback"]
    assert forgetting.forget(Which(job_ids=["b"])).jobs == 1
    assert dataset.files("adding", dataset.FEEDBACK) == []


def test_an_evaluation_measures_both_versions_by_feedback(client: Client, keep: Keep) -> None:
    keep(["a", "b", "c"])
    for job_id, truth, weight in (("a", 3.0, 1), ("b", 5.0, 3)):
        assert client.post(f"/jobs/{job_id}/feedback", json={"truth": truth, "weight": weight}).status_code == 202
    evaluation: Any = SimpleNamespace(
        evaluation_id="e1",
        endpoint_name="adding",
        model_name="adder",
        stable_version="1",
        source={"since": AT - 1, "until": AT + 1},
        options={"max_jobs": 10},
    )
    assert sample.choose(evaluation) == 3
    jobs = list(sample.read("e1"))
    assert [(job.job_id, job.truths, job.weight) for job in jobs] == [("a", [3.0], 1), ("b", [5.0], 3), ("c", None, 1)]

    comparison = Comparison(ComparisonOptions(kinds={"prediction": "number"}))
    for job in jobs:
        assert job.stable is not None
        candidate = Answer("2", [4.0])
        comparison.add(Pair(job.job_id, job.inputs, job.stable, candidate, truths=job.truths, weight=job.weight))
    truths = comparison.report()["truths"]
    assert (truths["jobs"], truths["weighted"]) == (2, True)
    # 3.0 is 0 and 2 off, 4.0 is 1 and 1 off; the second counts three times.
    assert (truths["numbers"]["stable_mae"], truths["numbers"]["candidate_mae"]) == (1.5, 1.0)


@pytest.mark.parametrize(
    ("truth", "rows", "many", "expected"),
    [
        ("x", 1, False, ["x"]),
        ([1, 2], 1, False, [[1, 2]]),
        ([1, 2], 2, True, [1, 2]),
        ([1], 1, True, [1]),
        ("x", 1, True, ["x"]),
        ([1, 2, 3], 2, True, None),
        ("x", 2, True, None),
    ],
)
def test_a_truth_is_that_of_its_rows(truth: Any, rows: int, many: bool, expected: list[Any] | None) -> None:
    assert feedback.Truth(truth, 1.0).of_rows(rows, many=many) == expected
