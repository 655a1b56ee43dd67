"""Canvases that run on a stock Celery worker and on ours, to be compared."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.canvas.cases import ENDPOINT
from tests.support.models import Marks
from tests.support.service.environment import REPOSITORY
from tests.support.service.processes import Child
from tests.support.service.stack import Stack

_COMMAND = "python -m celery -A tests.support.canvas.stock worker --pool threads --concurrency 4 --loglevel INFO"
#: Celery alone without a result backend, or with tasks whose results are ignored, runs on both.
WITHOUT_RESULTS = ("no backend", "ignored")
WAYS = ("stock", "package", "bare", *(f"{way}, {why}" for why in WITHOUT_RESULTS for way in ("stock", "bare")))
_QUIETLY = "--without-gossip --without-mingle --without-heartbeat --hostname stock@%h"


@contextmanager
def stock_worker(stack: Stack) -> Iterator[Child]:
    """Run a stock worker, with the tasks of `stock`, beside a service."""
    log_path = stack.logs / "stock.log"
    with Child([*_COMMAND.split(), *_QUIETLY.split()], env=stack.env, log_path=log_path) as worker:
        worker.wait_for_log(" ready.")
        yield worker


def run_cases(stack: Stack) -> dict[str, dict[str, Any]]:
    """Run all cases on a stock worker and on a service, there with our package and with Celery alone.

    Returns what each has shown, by way and case.
    """
    stack.register(ENDPOINT, Marks())
    stack.deploy(ENDPOINT, endpoint_name=ENDPOINT)
    with stock_worker(stack):
        running = {
            way: subprocess.Popen(
                [sys.executable, "-m", "tests.support.canvas.run_cases", way],
                env=stack.env, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
            )
            for way in WAYS
        }  # fmt: skip
        written = {way: process.communicate(timeout=100)[0] for way, process in running.items()}
    assert all(written.values()), stack.last_logs()
    return {way: json.loads(text) for way, text in written.items()}
