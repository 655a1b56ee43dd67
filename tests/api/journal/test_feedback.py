"""Feedback on jobs of the journal over HTTP: joined by id, latest wins."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.api.conftest import Client, View
from workers import keys
from workers.jobs.endings.journal import STREAM_BYTES
from workers.journal import feedback, forgetting, moving
from workers.journal.files import dataset
from workers.journal.files.writer import writing
from workers.journal.forgetting import Which
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


def test_a_full_stream_refuses_feedback_and_loses_none(client: Client, keep: Keep) -> None:
    keep(["a"])
    records_client().hset(keys.JOURNAL_COUNTS, STREAM_BYTES, 10**12)
    answer = client.post("/jobs/a/feedback", json={"truth": 1})
    assert (answer.status_code, answer.json["code"]) == (503, "journal_full")
    assert "Retry-After" in answer.headers
    records_client().hdel(keys.JOURNAL_COUNTS, STREAM_BYTES)
    assert client.post("/jobs/a/feedback", json={"truth": 1}).status_code == 202


def test_what_is_forgotten_has_no_feedback_any_more(client: Client, keep: Keep) -> None:
    keep(["a", "b"])
    for job_id in ("a", "b"):
        client.post(f"/jobs/{job_id}/feedback", json={"truth": job_id})
    assert forgetting.forget(Which(job_ids=["a"])) == 1
    assert truths() == {"b": "b"}
    assert [each.root for each in dataset.files("adding", dataset.FEEDBACK)] == ["feedback"]
    assert forgetting.forget(Which(job_ids=["b"])) == 1
    assert dataset.files("adding", dataset.FEEDBACK) == []
