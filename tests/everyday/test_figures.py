"""An hour and a day of figures, and alerts, without Prometheus: the commands of docs/guides/figures.md."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.everyday.conftest import Follow
from tests.support.documentation import documented_program
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

PAGE = "figures.md"
ENDPOINT = "binary_classifier-v1"


@pytest.fixture(scope="module")
def endpoint(service: Stack) -> str:
    """The endpoint of the guide, with some jobs of which one has failed."""
    service.deploy("binary_classifier", version="1", endpoint_name=ENDPOINT)
    for _ in range(30):
        service.predict(ENDPOINT, [0.5, 0.8, 0.2])
    eventually(lambda: summary(service)["jobs"] >= 30, message="all jobs are counted")
    return ENDPOINT


def summary(service: Stack) -> dict[str, Any]:
    found: dict[str, Any] = service.api.get(f"/deployments/{ENDPOINT}/stats").json()["summary"]
    return found


def test_an_hour_is_shown_with_charts_and_the_newest_minutes(endpoint: str, follow: Follow) -> None:
    shown = follow(PAGE, "an hour of an endpoint")
    lines = {" ".join(line.split()[:-2]): line for line in shown.splitlines()}
    jobs = next(line for line in lines.values() if line.startswith("jobs"))
    assert int(jobs.split()[1]) >= 30
    assert "█" in jobs
    assert "FROM" in shown
    assert "PREDICT P95" in shown


def test_a_day_is_a_document_for_programs(endpoint: str, follow: Follow) -> None:
    found = json.loads(follow(PAGE, "a day of an endpoint, for a program"))
    assert (found["step_s"], len(found["buckets"])) == (600, 144)
    assert found["summary"]["jobs"] >= 30
    assert found["summary"]["total_p95_ms"] >= found["summary"]["total_p50_ms"] > 0
    assert found["summary"]["queued_p50_ms"] is not None
    assert found["summary"]["predict_p95_ms"] > 0


def test_the_program_of_the_guide_runs(service: Stack, endpoint: str) -> None:
    shown = service.run("-c", documented_program(PAGE)).stdout.splitlines()
    jobs, p95_ms = shown[0].split()
    assert int(jobs) >= 30
    assert float(p95_ms) > 0
    assert int(shown[1].split()[1]) > 0


def test_checks_pass_while_all_is_well_and_fail_with_the_reason(service: Stack, endpoint: str, follow: Follow) -> None:
    follow(PAGE, "fail if a deployment is not well")
    follow(PAGE, "fail if an endpoint fails or is slow")
    follow(PAGE, "write the script of all checks")
    slow = service.queuecast("stats", ENDPOINT, "--since", "10m", "--fail-over", "total_p95_ms=0.0001", check=False)
    assert slow.returncode == 1
    assert "total_p95_ms is" in slow.stderr
    assert ENDPOINT in slow.stderr


def test_the_checks_say_when_the_service_is_away(follow: Follow) -> None:
    follow(PAGE, "fail if a deployment is not well", exit_code=3, QUEUECAST_URL="http://127.0.0.1:9")
    follow(PAGE, "write the script of all checks", exit_code=3, QUEUECAST_URL="http://127.0.0.1:9")


def test_ps_shows_which_endpoint_each_host_serves(service: Stack, endpoint: str, follow: Follow) -> None:
    worker = service.view(ENDPOINT)["workers"][0]
    by_pid = {line.split()[0]: line for line in follow("operations.md", "see what each process is").splitlines()}
    for pid in worker["pids"]:
        assert f"queuecast: host {ENDPOINT} v1 ({worker['worker']}" in by_pid[str(pid)]
    assert any(f"queuecast: web 127.0.0.1:{service.port}" in line for line in by_pid.values())
    assert any(f"queuecast: worker {worker['worker']}" in line for line in by_pid.values())
    assert any("queuecast: forkserver of " in line for line in by_pid.values())


def test_an_endpoint_is_shown_with_its_hosts_in_mb(service: Stack, endpoint: str, follow: Follow) -> None:
    worker = service.view(ENDPOINT)["workers"][0]
    shown = follow("operations.md", "see what the hosts take")
    header, row = shown.splitlines()[-2:]
    assert header.split()[:4] == ["WORKER", "VERSION", "STATE", "HOSTS"]
    assert row.split()[:7] == [worker["worker"], "1", "ready", "1", "of", "1", str(worker["pids"][0])]
    assert 5 < float(row.split()[7]) < 1_000
