"""Services whose leases are short, so that what a fault left behind comes back within seconds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.service.shared_stack import SharedStack
from tests.support.service.stack import Stack

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


@pytest.fixture(scope="package")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStack]:
    shared = SharedStack(lambda: Stack(tmp_path_factory.mktemp("faults"), env=FAST))
    yield shared
    shared.close()


@pytest.fixture(scope="package")
def _numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def name(_numbers: Iterator[int]) -> str:
    """A name that nothing in the service has: for the test's model, worker group, endpoints and workers.

    Names of endpoints and workers may go on after it, with a hyphen.
    """
    return f"toy{next(_numbers)}"


@pytest.fixture
def service(_shared: SharedStack, name: str, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A service with one worker of the default group, and no endpoint.

    A test may kill, stop and starve what it likes if it ends with a service that works. Workers that it starts and
    endpoints that it deploys go with it.
    """
    yield _shared.get()
    _shared.clean(name, request.node)
