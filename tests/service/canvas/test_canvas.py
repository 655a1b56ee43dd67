"""What a Celery program can do with a task it can do with `predict`: a stock worker and ours run each canvas."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.canvas.cases import CASES, ENDPOINT
from tests.support.models import Marks
from tests.support.service.environment import REPOSITORY
from tests.support.service.processes import Child
from tests.support.service.stack import Stack

WAYS = ("stock", "package", "bare")
STOCK_WORKER = "python -m celery -A tests.support.canvas.stock worker --pool threads --concurrency 4 --loglevel INFO"


@pytest.fixture(scope="module")
def seen(service: Stack) -> Iterator[dict[str, dict[str, Any]]]:
    """What each case has shown, by way."""
    service.register(ENDPOINT, Marks())
    service.deploy(ENDPOINT, endpoint_name=ENDPOINT)
    log = service.logs / "stock.log"
    with Child([*STOCK_WORKER.split(), "--hostname", "stock@%h"], env=service.env, log_path=log) as worker:
        worker.wait_for_log(" ready.")
        running = {
            way: subprocess.Popen(
                [sys.executable, "-m", "tests.support.canvas.run_cases", way],
                env=service.env, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
            )
            for way in WAYS
        }  # fmt: skip
        said = {way: process.communicate(timeout=100)[0] for way, process in running.items()}
        assert all(said.values()), service.last_logs()
        yield {way: json.loads(text) for way, text in said.items()}
    service.undeploy(ENDPOINT, "reject", wait_s=0)


@pytest.mark.parametrize("way", ["package", "bare"])
@pytest.mark.parametrize("case", CASES)
def test_a_canvas_with_predict_does_what_it_does_on_a_stock_worker(
    seen: dict[str, dict[str, Any]], case: str, way: str
) -> None:
    assert seen[way][case] == seen["stock"][case]
    assert "missing" not in seen[way][case]
