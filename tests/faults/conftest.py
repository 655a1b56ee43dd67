"""Services whose leases are short, so that what a fault left behind comes back within seconds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.stack import Stack

HERE = Path(__file__).parent
LEASE_S = 2.0
FAST = {
    "QUEUECAST_LEASE_S": str(LEASE_S),
    "QUEUECAST_SWEEP_INTERVAL_S": "0.5",
    "QUEUECAST_RECONCILE_INTERVAL_S": "0.5",
    "QUEUECAST_SHUTDOWN_GRACE_S": "2",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these start a whole service."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Stack]:
    """A service of the test's own, to break; it has no worker yet."""
    with Stack(tmp_path / "stack", env=FAST) as running:
        yield running


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service with one worker, for faults that only concern an endpoint."""
    with Stack(tmp_path_factory.mktemp("faults"), env=FAST) as running:
        running.start_worker("worker")
        yield running


@pytest.fixture(scope="package")
def _numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def name(_numbers: Iterator[int]) -> str:
    """A name that nothing in the service has, for the test's model and endpoint."""
    return f"toy{next(_numbers)}"
