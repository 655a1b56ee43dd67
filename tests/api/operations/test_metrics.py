"""`/metrics` of the API: what is read when it is asked, and what one process counts."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask

from api.app import create_app
from api.settings import ApiSettings
from registry.database import default_database
from tests.api.conftest import Client, View
from tests.support.metrics import Scrape
from tests.support.service.environment import REPOSITORY, clean_environment
from workers.deployments import status
from workers.embedded_redis.server import EmbeddedRedis


def scraped(client: Client) -> Scrape:
    answer = client.get("/metrics")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    return Scrape(answer.text)


def test_what_waits_and_what_nobody_serves_is_shown(client: Client, adding: View) -> None:
    client.submit()
    client.submit()
    found = scraped(client)
    assert found.value("queuecast_queue_depth", endpoint="adding") == 2
    assert found.value("queuecast_oldest_job_age_seconds", endpoint="adding") >= 0
    assert found.value("queuecast_workers", group="default") == 0
    states = found.by("state", "queuecast_deployment_state", endpoint="adding")
    assert states == {**dict.fromkeys(status.SHOWN, 0), "deploying": 1}
    assert found.by("part", "queuecast_up") == {"redis": 1, "registry": 1}


def test_a_group_has_the_unfinished_jobs_of_all_its_endpoints_and_priorities(client: Client, adding: View) -> None:
    client.deploy("adding-too")
    for endpoint, priority in (("adding", "high"), ("adding", "low"), ("adding-too", "normal")):
        answer = client.post(f"/predict/{endpoint}", json={"input": [1, 2], "priority": priority})
        assert answer.status_code == 202, answer.text
    found = scraped(client)
    assert found.by("group", "queuecast_group_unfinished_jobs") == {"default": 3}
    assert found.by("group", "queuecast_group_wanted_workers") == {"default": 1}


def test_parked_jobs_ask_for_no_workers(client: Client, adding: View) -> None:
    client.submit()
    client.post("/deployments/undeploy", json={"endpoint_name": "adding", "backlog": "park"})
    found = scraped(client)
    assert found.value("queuecast_queue_depth", endpoint="adding") == 1
    assert found.by("group", "queuecast_group_unfinished_jobs") == {"default": 0}
    assert found.by("group", "queuecast_group_wanted_workers") == {"default": 0}


def test_requests_are_counted_by_their_route_and_made_up_ones_share_a_series(client: Client) -> None:
    for path in ("/jobs/one", "/jobs/two", "/no/such/thing", "/nor/this"):
        client.get(path)
    client.open("/jobs", method="BREW")
    found = scraped(client)
    requests = "queuecast_http_requests_total"
    assert found.value(requests, route="/jobs/<job_id>", method="GET", status="404") == 2
    assert found.value(requests, route="none", method="GET", status="404") == 2
    assert found.value(requests, method="other", status="405") == 1
    assert found.value("queuecast_http_request_duration_seconds_count", route="/jobs/<job_id>") == 2


def test_openmetrics_is_answered_to_who_asks_for_it(client: Client) -> None:
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.mimetype == "application/openmetrics-text"
    assert answer.text.endswith("# EOF\n")


def test_without_redis_the_rest_is_answered_and_says_so(
    client: Client, adding: View, redis_server: EmbeddedRedis
) -> None:
    redis_server.stop()
    try:
        found = scraped(client)
    finally:
        redis_server.start()
    assert found.by("part", "queuecast_up") == {"redis": 0, "registry": 1}
    assert found.of("adding") == set()
    assert "queuecast_http_requests_total" in found.names


def test_without_the_registry_the_rest_is_answered_and_says_so(client: Client, adding: View, data_dir: Path) -> None:
    (data_dir / "registry.db").write_bytes(b"no database any more" * 100)
    default_database().close()
    found = scraped(client)
    assert found.by("part", "queuecast_up") == {"redis": 1, "registry": 0}
    assert found.value("queuecast_dead_letters") == 0


@pytest.mark.slow
def test_processes_of_one_machine_add_up_their_requests(tmp_path: Path, redis_url: str) -> None:
    env = clean_environment(
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path), QUEUECAST_REDIS_URL=redis_url, QUEUECAST_DATA_DIR=str(tmp_path / "data")
    )
    program = """
from api.app import create_app
client = create_app().test_client()
client.get("/health/live")
print(client.get("/metrics").text)
"""
    for count in (1, 2):
        done = subprocess.run(
            [sys.executable, "-c", program], env=env, cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        found = Scrape(done.stdout)
        assert found.value("queuecast_http_requests_total", route="/health/live", method="GET", status="200") == count


@pytest.mark.parametrize("wanted", [True, False])
def test_each_request_is_a_line_in_the_log_if_that_is_wanted(
    wanted: bool, data_dir: Path, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app: Flask = create_app(ApiSettings(access_log=wanted))
    with caplog.at_level(logging.INFO):
        app.test_client().get("/health/live?who=me", headers={"X-Request-ID": "mine"})
    lines = [record.getMessage() for record in caplog.records if record.name == "api.access"]
    assert [line.startswith("GET /health/live 200 ") and line.endswith("(request mine)") for line in lines] == (
        [True] if wanted else []
    )


def test_no_path_makes_a_second_line_in_the_log(
    data_dir: Path, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app: Flask = create_app(ApiSettings(access_log=True))
    with caplog.at_level(logging.INFO):
        app.test_client().get("/none%0aGET%20/keys%20200%1b%5b2J/%C3%A9:1")
    [line] = [record.getMessage() for record in caplog.records if record.name == "api.access"]
    assert line.startswith("GET /none%0AGET%20/keys%20200%1B%5B2J/%C3%A9:1 404 ")
