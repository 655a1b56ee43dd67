"""The journal of a whole service: jobs of every way in, and the command that reads and forgets them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from api.client import AsyncClient, Client
from tests.support.calls import expect
from tests.support.models import Same
from tests.support.stack import Stack
from workers.queues.naming import queue_name

VECTOR = {"kind": "vector", "dtype": "float", "shape": [None]}


@pytest.fixture
def kept(service: Stack, name: str) -> str:
    """An endpoint that answers with its input, and whose jobs are kept."""
    service.register(name, Same(), [0.5], signature=VECTOR)
    service.deploy(name, endpoint_name=name, journal=1)
    return name


def journal_of(service: Stack, name: str) -> list[dict[str, Any]]:
    with Client(service.url) as client:
        return list(client.journal(name, since="1h"))


def test_jobs_of_http_bulk_v2_and_celery_are_kept_and_exported_and_forgotten(
    service: Stack, kept: str, tmp_path: Path
) -> None:
    expect(200, service.api.post(f"/predict/{kept}", json={"inputs": [[1.0], [2.0]]}, headers={"Prefer": "wait=30"}))
    service.outcomes(service.submit_all(kept, [[3.0], [4.0]]))
    tensor = {"name": "input", "shape": [1, 1], "datatype": "FP64", "data": [5.0]}
    expect(200, service.api.post(f"/v2/models/{kept}/infer", json={"inputs": [tensor]}))
    service.celery.send_task("predict", args=[kept, [6.0]], queue=queue_name(kept)).get(timeout=30)
    refused = service.celery.send_task("predict", args=[kept, "no vector"], queue=queue_name(kept))
    with pytest.raises(Exception, match="input"):
        refused.get(timeout=30)
    found = journal_of(service, kept)
    assert sorted(row[0] for each in found if each["status"] == "succeeded" for row in each["inputs"]) == [
        *(1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
    ]
    assert all(each["predictions"] == each["inputs"] for each in found if each["status"] == "succeeded")
    [bad] = [each for each in found if each["status"] == "failed"]
    assert (bad["job_id"], bad["error_code"], bad["inputs"]) == (refused.id, "input_invalid", ["no vector"])

    lines = service.queuecast("journal", "export", kept, "--since", "1h").stdout.splitlines()
    assert [json.loads(line)["job_id"] for line in lines] == [each["job_id"] for each in found]
    path = tmp_path / "jobs.parquet"
    service.queuecast("journal", "export", kept, "--output", str(path))
    table = pq.read_table(path)
    assert table.column("job_id").to_pylist() == [each["job_id"] for each in found]

    assert f"{len(found)} on their way to files" in service.queuecast("journal", "show", kept).stdout
    refused_to_ask = service.queuecast("journal", "forget", kept, "--job", bad["job_id"], check=False)
    assert (refused_to_ask.returncode, "--yes" in refused_to_ask.stderr) == (2, True)
    service.queuecast("journal", "forget", kept, "--job", bad["job_id"], "--yes")
    assert bad["job_id"] not in {each["job_id"] for each in journal_of(service, kept)}

    async def with_asyncio() -> tuple[int, int, int]:
        async with AsyncClient(service.url) as client:
            seen = [each async for each in client.journal(kept, since="1h")]
            summary = await client.journal_kept(kept)
            return len(seen), summary.job_count, await client.forget_journal(kept, before="2999-01-01T00:00:00Z")

    assert asyncio.run(with_asyncio()) == (len(found) - 1,) * 3
