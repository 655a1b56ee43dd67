"""API processes that are killed, and submits that are sent again: one job each, whoever answers."""

from __future__ import annotations

import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis

from tests.faults import audit
from tests.support.loads.load import PatientLoad
from tests.support.models import Echo, Recorder
from tests.support.service.ports import free_port
from tests.support.service.processes import Child, no_more_files
from tests.support.service.stack import Stack
from tests.support.waiting import eventually


def test_a_killed_api_loses_no_job_and_doubles_none(service: Stack, name: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    service.register(name, Recorder(runs))
    service.deploy(name, endpoint_name=name)
    with PatientLoad(service.url, name) as load:
        for _ in range(2):
            load.wait_for(50)
            service.server.kill()
            service.start_server()
        load.wait_for(50)
    audit.check(service, name, load.accepted, lambda row: ["", row], 20)
    # What was sent twice, because its answer was lost with the API, ran once.
    rows = runs.read_text().split()
    assert sorted(rows) == sorted(set(rows))


def test_two_apis_make_one_job_of_requests_with_one_key_that_come_at_once(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    port = free_port()
    env = {**service.env, "QUEUECAST_PORT": str(port)}
    with Child(["python", "-m", "api.serve"], env=env, log_path=service.logs / "second.log") as second:
        second.wait_for_log("listens on")
        urls = [f"{url}/predict/{name}" for url in (service.url, f"http://127.0.0.1:{port}")]
        for _ in range(10):
            answers = at_once(service.api, urls * 8, {"input": "x"}, uuid.uuid4().hex)
            assert {answer.status_code for answer in answers} <= {200, 202}
            assert len({answer.json()["job_id"] for answer in answers}) == 1
    eventually(lambda: service.view(name)["request_count"] == 10, message="each key was one job")


def at_once(api: httpx.Client, urls: list[str], body: Any, key: str) -> list[httpx.Response]:
    barrier = threading.Barrier(len(urls))

    def post(url: str) -> httpx.Response:
        barrier.wait(10)
        return api.post(url, json=body, headers={"Idempotency-Key": key})

    with ThreadPoolExecutor(len(urls)) as pool:
        return list(pool.map(post, urls))


def test_a_key_that_was_used_for_another_body_is_refused(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    url, key = f"{service.url}/predict/{name}", {"Idempotency-Key": "one"}
    first = httpx.post(url, json={"input": "x"}, headers=key).json()
    refused = httpx.post(url, json={"input": "y"}, headers=key)
    assert refused.status_code == 422
    assert refused.json()["code"] == "idempotency_conflict"
    assert first["job_id"] in refused.json()["detail"]
    assert httpx.post(url, json={"input": "x"}, headers=key).json()["job_id"] == first["job_id"]
    # The same key for another endpoint is another key's business: names of keys are the client's own.
    assert httpx.post(url, json={"input": "x"}, headers={"Idempotency-Key": ""}).status_code == 422


def test_an_api_without_descriptors_refuses_and_goes_on_by_itself_when_it_has_some(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    assert service.predict(name, "before")["prediction"] == ["m", "before"]
    with no_more_files(psutil.Process(service.server.pid), even_for_closed=True):
        with redis.Redis.from_url(service.redis.url) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        answer = service.api.post(f"/predict/{name}", json={"input": "short"})
        assert (answer.status_code, answer.headers["Retry-After"].isdigit()) == (503, True), answer.text
        # What comes meanwhile is let in once there is room for it.
        late = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        late.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    with late:
        assert b" 200 " in late.recv(1_000)
    assert service.predict(name, "after")["prediction"] == ["m", "after"]
