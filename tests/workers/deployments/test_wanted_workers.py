"""How many workers a group needs, from its deployments, their jobs and the workers' reports."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workers.stand_ins import endpoint_report, version_report, worker_report
from workers.deployments import wanted_workers
from workers.measures.reports import EndpointReport, HostsState, SeenReport

MEBIBYTE = 1024**2
RANGE = {"min": 0, "max": 4}


def view(status: str = "active", hosts: Any = RANGE, **more: Any) -> dict[str, Any]:
    return {
        "endpoint_name": "e", "status": status, "settings": {"hosts": hosts, "gpu": 0.0}, "queue_depth": 0,
        "workers": [], **more,
    }  # fmt: skip


def seen(*endpoints: EndpointReport, memory_mib: tuple[int, int] | None = None, **more: Any) -> SeenReport:
    names = dict(zip("efg", endpoints, strict=False))
    memory: dict[str, Any] = {}
    if memory_mib is not None:
        used, budget = memory_mib
        memory = {"memory": {"used_bytes": used * MEBIBYTE, "budget_bytes": budget * MEBIBYTE}}
    return {**worker_report(endpoints=names), **memory, "age_s": 0.1, **more}  # type: ignore[typeddict-item]


def serving(memory_bytes: int = 0, **more: Any) -> EndpointReport:
    version = version_report(HostsState.READY, memory_bytes=memory_bytes)
    return {**endpoint_report(version), **more}  # type: ignore[typeddict-item]


NOT_PLACED = endpoint_report(version_report(HostsState.NOT_PLACED))
ASKS = serving(asks_next=True)


@pytest.mark.parametrize(
    ("found", "unfinished", "workers", "expected"),
    [
        (view("asleep"), 0, [], 0),
        (view("asleep"), 1, [], 1),
        (view("asleep", queue_depth=1), 0, [], 1),
        (view("parked", queue_depth=9), 9, [], 0),
        (view("draining"), 0, [], 0),
        (view("draining"), 2, [], 1),
        (view("draining", workers=[{}]), 0, [], 1),
        (view("deploying"), 0, [], 1),
        (view("failed"), 0, [], 1),
        (view("active"), 0, [seen(serving())], 1),
        (view("active"), 500, [seen(serving()), seen(NOT_PLACED)], 1),
        (view("active"), 9, [seen(ASKS), seen(NOT_PLACED)], 2),
        (view("active"), 9, [seen(ASKS), seen(serving())], 2),
        (view("active"), 9, [seen(ASKS), seen(ASKS)], 3),
        (view("active", hosts={"min": 1, "max": 2}), 0, [], 1),
        (view("deploying", hosts=2), 0, [], 1),
        (view("deploying", hosts=2), 900, [], 1),
        (view("active", hosts=2), 199, [seen(serving(jobs_per_s=20.0))], 1),
        (view("active", hosts=2), 201, [seen(serving(jobs_per_s=20.0))], 2),
        (view("active", hosts=2), 900, [seen(serving(jobs_per_s=20.0)), seen(serving(jobs_per_s=40.0))], 3),
        (view("active", hosts=2), 900, [seen(serving(jobs_per_s=0.0))], 1),
    ],
)
def test_workers_that_a_deployment_needs(
    found: dict[str, Any], unfinished: int, workers: list[SeenReport], expected: int
) -> None:
    assert wanted_workers.of_endpoint(found, unfinished, workers) == expected


def test_a_group_needs_what_the_neediest_of_its_deployments_needs() -> None:
    assert wanted_workers.of_group([0, 3, 1], [], [], is_replaying=False) == 3
    assert wanted_workers.of_group([0, 0], [], [], is_replaying=False) == 0
    assert wanted_workers.of_group([0], [], [], is_replaying=True) == 1
    assert wanted_workers.of_group([], [], [], is_replaying=False) == 0


@pytest.mark.parametrize(
    ("needed", "used_mib", "hosts", "expected"),
    [
        (1, (400, 300), RANGE, 1),
        (1, (700, 400), RANGE, 2),
        (1, (1_000, 1_000), RANGE, 2),
        (0, (700, 400), RANGE, 0),
        # Each worker has the hosts of a fixed number: one can be given up.
        (1, (700, 700), 2, 1),
    ],
)
def test_a_worker_stays_whose_hosts_have_no_room_at_the_others(
    needed: int, used_mib: tuple[int, int], hosts: Any, expected: int
) -> None:
    workers = [seen(serving(memory_bytes=1), memory_mib=(used, 1_000)) for used in used_mib]
    assert wanted_workers.of_group([needed], [view(hosts=hosts)], workers, is_replaying=False) == expected


@pytest.mark.parametrize(
    ("shares", "hosts", "expected"),
    [
        ([[1.0], [1.0]], RANGE, 2),
        ([[0.5], [0.5]], RANGE, 1),
        ([[0.5, 0.0], [1.0, 0.5], [0.5, 0.0]], RANGE, 2),
        ([[0.1], [0.2], [0.7]], RANGE, 1),
        ([[0.0], [0.0]], RANGE, 1),
        # Each worker has the host of a fixed number: one can be given up.
        ([[1.0], [1.0]], 1, 1),
        ([[], []], RANGE, 1),
    ],
)
def test_a_worker_stays_whose_hosts_have_no_gpu_at_the_others(
    shares: list[list[float]], hosts: Any, expected: int
) -> None:
    workers = [seen(serving(), gpus=[{"share": share} for share in gpus]) for gpus in shares]
    one = view(settings={"hosts": hosts, "gpu": 1.0})
    assert wanted_workers.of_group([1], [one], workers, is_replaying=False) == expected


def test_without_a_memory_limit_workers_are_given_up() -> None:
    workers = [seen(serving(memory_bytes=1), memory_mib=(900, 0)) for _ in range(2)]
    assert wanted_workers.of_group([1], [view()], workers, is_replaying=False) == 1
