"""One service that is observed in every way: metrics of API and workers, traces, logs in JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.metrics import Scrape, scrape
from tests.support.models import Mortal
from tests.support.servers.otlp import Receiver, receiver
from tests.support.service.ports import free_port
from tests.support.service.processes import Child
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.tracing.spans import installed

ENDPOINT = "mortal"


class Observed(Stack):
    """The service, with one worker that serves `ENDPOINT`."""

    spans: Receiver | None
    metrics_port: int

    def scrape_worker(self, number: int = 0) -> Scrape:
        """Ask the worker that was started as the n-th."""
        return scrape(f"http://127.0.0.1:{self.metrics_port + number}")

    def scrape_api(self) -> Scrape:
        """Ask the API."""
        return scrape(self.url)

    def wait_for_jobs(self, endpoint: str, **expected: float) -> None:
        """Wait until the worker has counted these ends: it does so just after it has written them."""

        def counted() -> bool:
            assert self.scrape_worker().by("outcome", "queuecast_jobs_total", endpoint=endpoint) == expected
            return True

        eventually(counted)


@pytest.fixture(scope="package")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    folder: Path = tmp_path_factory.mktemp("observed")
    port = free_port()
    env = {
        "QUEUECAST_METRICS_PORT": str(port),
        "QUEUECAST_LOG_FORMAT": "json",
        "QUEUECAST_ACCESS_LOG": "true",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with ExitStack() as closing:
        spans = closing.enter_context(receiver()) if installed() else None
        if spans is not None:
            env["OTEL_EXPORTER_OTLP_ENDPOINT"] = spans.url
        stack = closing.enter_context(Observed(folder, env=env))
        stack.spans, stack.metrics_port = spans, port
        stack.start_worker("worker")
        stack.register("mortal", Mortal("1"))
        stack.deploy("mortal", endpoint_name=ENDPOINT, max_attempts=1)
        yield stack


@pytest.fixture
def spans(observed: Observed) -> Receiver:
    """Where the service's spans go; without the extra `otel` there are none."""
    if observed.spans is None:
        message = "OpenTelemetry is not installed: pip install -e '.[otel]'"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return observed.spans


def json_lines(process: Child) -> list[dict[str, Any]]:
    """Return the lines of a process's log that are JSON objects."""
    return [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]
