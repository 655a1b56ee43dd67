"""What takes long is done in threads, so that the event loop answers others meanwhile."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from api.predictions import bodies
from api.process.job_loop import default_job_loop
from api.settings import ApiSettings
from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker
from workers.jobs import accept, query
from workers.platform import fast_json
from workers.platform.loops import blocking

LOOP = "queuecast-jobs"
LONG_TEXT = "x" * (2 * blocking.LONG_BYTES)


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(deployment_cache_s=0)


@pytest.fixture
def threads_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[str]]:
    """Notes the names of the threads that call a function."""

    def note(module: Any, name: str) -> list[str]:
        names: list[str] = []
        function = getattr(module, name)

        def noting(*args: Any, **named: Any) -> Any:
            names.append(threading.current_thread().name)
            return function(*args, **named)

        monkeypatch.setattr(module, name, noting)
        return names

    return note


def test_a_short_body_is_parsed_on_the_loop_and_a_long_or_an_encoded_one_is_not(
    client: Client, adding: View, threads_of: Callable[[Any, str], list[str]]
) -> None:
    parsed, prepared = threads_of(bodies, "read"), threads_of(accept, "prepare")
    client.get("/jobs/x")  # begins the loop
    rows = json.dumps({"inputs": [[1, 2]] * 40_000}).encode()
    for body, headers in (
        (b'{"input": [1, 2]}', {}),
        (rows, {}),
        (gzip.compress(b'{"input": [1, 2]}'), {"Content-Encoding": "gzip"}),
    ):
        assert client.post("/predict/adding", data=body, headers=headers).status_code == 202
    # The deployment is not in memory here, so the short one is tried on the loop first.
    assert [name.partition("_")[0] for name in parsed] == [LOOP, "queuecast-checks", "queuecast-work", "queuecast-work"]
    assert [name.partition("_")[0] for name in prepared] == [LOOP, "queuecast-beside", LOOP]


def test_a_long_outcome_is_read_and_written_in_threads(
    client: Client, adding: View, worker: StandInWorker, threads_of: Callable[[Any, str], list[str]]
) -> None:
    short, long = client.submit(), client.submit()
    worker.succeed(short, "adding", 3.0)
    worker.succeed(long, "adding", LONG_TEXT)
    read, written = threads_of(query, "shown"), threads_of(fast_json, "dumps_strict")
    for job_id in (short, long):
        assert client.get(f"/jobs/{job_id}").status_code == 200
    assert read == [LOOP, read[1]]
    assert written == [LOOP, written[1]]
    assert read[1].startswith("queuecast-beside")
    assert written[1].startswith("queuecast-beside")
    answer = client.post("/jobs/lookup", json={"job_ids": [short, long]})
    assert [job["status"] for job in answer.json["jobs"]] == ["succeeded"] * 2
    assert all(each.startswith("queuecast-beside") for each in (*read[2:], *written[2:]))


def test_more_than_may_wait_for_a_thread_are_a_503_at_once(
    client: Client, adding: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = default_job_loop()
    monkeypatch.setattr(jobs._work, "_most", 0)
    answer = client.post("/predict/adding/bulk", json=[{"input": [1, 2]}])
    assert (answer.status_code, answer.json["code"]) == (503, "server_busy")
    assert answer.headers["Retry-After"]
    assert client.get("/jobs/x").status_code == 404
