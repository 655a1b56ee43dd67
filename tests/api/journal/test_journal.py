"""The journal over HTTP: pages of jobs, how much is kept, and forgetting."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.api.conftest import Client, View
from workers import keys
from workers.jobs.endings.journal import STREAM_BYTES
from workers.journal import moving
from workers.journal.files import dataset
from workers.journal.files.writer import Writer, writing
from workers.platform.redis.client import records_client

AT = 1_795_780_800.0
Keep = Callable[..., None]


@pytest.fixture
def keep(adding: View, redis_url: str) -> Keep:
    """Adds ended jobs to the stream, as the script that ends jobs does."""

    def kept(ids: Sequence[str], at: float = AT, owner: str | None = None) -> None:
        lines = []
        for job_id in ids:
            result = {"prediction": 3.0, "model_name": "adder", "version": "1", "worker": "w", "batch_size": 1}
            record = {"status": "SUCCESS", "result": result, "task_id": job_id, "finished_at": at, "owner": owner}
            lines += [json.dumps({**record, "attempts": 1}), "{}", "[2.0]"]
        shared = json.dumps({"model_name": "adder", "version": "1", "worker": "w"})
        fields = {"endpoint_name": "adding", "answered_by": shared, "jobs": "\n".join(lines)}
        client: Any = records_client()
        client.xadd(keys.JOURNAL, fields)
        client.hincrby(keys.JOURNAL_COUNTS, "added:adding", len(ids))

    return kept


def read(client: Client, **query: Any) -> tuple[list[str], str | None]:
    answer = client.get("/deployments/adding/journal", query_string={"since": "3650d", **query})
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/x-ndjson"
    return [json.loads(line)["job_id"] for line in answer.data.splitlines()], answer.headers.get("Queuecast-Cursor")


def test_jobs_are_read_in_pages_from_files_and_stream(client: Client, keep: Keep) -> None:
    keep(["a", "b"])
    keep(["c"])
    with writing() as writer:
        moving.move(writer)
    keep(["d"])
    first, cursor = read(client, limit=1)
    assert first == ["a", "b"], "what ended in one step stays together"
    second, cursor = read(client, limit=2, cursor=cursor)
    assert second == ["c", "d"]
    assert read(client, cursor=cursor) == ([], None)
    assert read(client) == (["a", "b", "c", "d"], None)


def test_a_job_is_read_with_its_input_and_outcome(client: Client, keep: Keep) -> None:
    keep(["a"], owner="billing")
    answer = client.get("/deployments/adding/journal?since=3650d")
    found = json.loads(answer.data)
    assert (found["endpoint_name"], found["inputs"], found["predictions"]) == ("adding", [2.0], [3.0])
    assert (found["status"], found["owner"], found["finished_at"]) == (
        "succeeded",
        "billing",
        "2026-11-27T12:00:00.000000+00:00",
    )
    assert "stream_id" not in found


def test_a_page_is_a_parquet_file_on_request(client: Client, keep: Keep) -> None:
    import pyarrow.parquet as pq

    keep(["a", "b"])
    answer = client.get("/deployments/adding/journal?since=3650d&format=parquet")
    table = pq.read_table(io.BytesIO(answer.data))
    assert table.column("job_id").to_pylist() == ["a", "b"]
    assert table.column("endpoint_name").to_pylist() == ["adding", "adding"]


@pytest.mark.parametrize(
    ("query", "field"),
    [("since=soon", "since"), ("limit=0", "limit"), ("format=csv", "format"), ("cursor=x", "cursor")],
)
def test_a_wrong_parameter_is_named(client: Client, adding: View, query: str, field: str) -> None:
    answer = client.get(f"/deployments/adding/journal?{query}")
    assert (answer.status_code, answer.json["field"]) == (422, field)


def test_an_endpoint_that_was_never_deployed_has_no_journal(client: Client) -> None:
    for path in ("/deployments/absent/journal", "/deployments/absent/journal/kept"):
        assert client.get(path).json["code"] == "deployment_not_found"


def test_how_much_is_kept(client: Client, keep: Keep) -> None:
    keep(["a", "b"])
    with writing() as writer:
        moving.move(writer)
    keep(["c"])
    found = client.get("/deployments/adding/journal/kept").json
    assert (found["job_count"], found["file_count"], found["waiting_count"], found["dropped_count"]) == (2, 1, 1, 0)
    assert found["size_bytes"] > 500
    assert found["first_at"] == found["last_at"] == "2026-11-27T12:00:00+00:00"


def test_jobs_are_forgotten_in_files_and_stream(client: Client, keep: Keep) -> None:
    keep(["a", "b"], owner="one")
    with writing() as writer:
        moving.move(writer)
    keep(["c"], owner="two")
    assert client.delete("/deployments/adding/journal?job=c").json["forgotten_count"] == 1
    assert client.delete("/journal?owner=one&before=2026-11-27T12:00:00Z").json["forgotten_count"] == 0
    assert client.delete("/journal?owner=one&before=2026-11-27T12:00:01Z").json["forgotten_count"] == 2
    assert dataset.files() == []
    assert client.delete("/journal").status_code == 422


def test_forgetting_waits_for_the_process_that_writes(
    client: Client, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.journal.forgetting._WAIT_S", 0.0)
    other = Writer(records_client())
    assert other.take()
    answer = client.delete("/journal?job=a")
    other.release()
    assert (answer.status_code, answer.json["code"]) == (503, "journal_busy")


def test_the_journal_has_metrics(client: Client, keep: Keep) -> None:
    keep(["a", "b"])
    store: Any = records_client()
    store.hset(keys.JOURNAL_COUNTS, mapping={STREAM_BYTES: 4_711, "dropped:adding": 3})
    text = client.get("/metrics").text
    assert 'queuecast_journal_jobs_total{endpoint="adding",outcome="taken"} 2.0' in text
    assert 'queuecast_journal_jobs_total{endpoint="adding",outcome="dropped"} 3.0' in text
    assert "queuecast_journal_stream_bytes 4711.0" in text
    assert "queuecast_journal_lag_seconds " in text
